// Package ws is the server side of WebSocket as a carrier of streams. Whoever does not know the path
// meets an ordinary web server without content.
package ws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"heki/internal/netio"
	"heki/option"
	"heki/transport/internal/http1"
)

const (
	// maxRequests ends a connection that only asks for pages; nginx has 1000.
	maxRequests = 100
	// maxBody is the longest request body that is read to keep a connection alive.
	maxBody = 64 << 10
	// maxEarly bounds early data in bytes; clients are configured for 2048.
	maxEarly = 8 << 10
)

// ErrRefused says that a client asked for pages and no stream.
var ErrRefused = errors.New("not a websocket client")

// Server answers on the connections of one inbound. Its methods are safe for concurrent use.
type Server struct {
	path        string
	host        string // lower case, without a port; empty: any
	earlyInPath bool
	earlyHeader string
	name        string // of the Server header
	headers     string // of the 101, as lines
	trusted     []netip.Prefix
}

// New prepares a server. Headers that name another client are believed when the peer is in trusted.
func New(o *option.Transport, trusted []netip.Prefix) (*Server, error) {
	path, query, _ := strings.Cut(o.Path, "?")
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	s := &Server{
		path:        path,
		host:        strings.ToLower(hostOnly(o.Host)),
		earlyInPath: o.EarlyDataHeaderName == "" && (o.MaxEarlyData > 0 || strings.HasPrefix(query, "ed=")),
		earlyHeader: o.EarlyDataHeaderName,
		trusted:     trusted,
	}
	return s, s.setHeaders(o.Headers)
}

// hostOnly cuts the port of a host: a.example:443, [2001:db8::1]:443.
func hostOnly(host string) string {
	if h, ok := strings.CutPrefix(host, "["); ok {
		h, _, _ = strings.Cut(h, "]")
		return h
	}
	if strings.Count(host, ":") == 1 {
		host, _, _ = strings.Cut(host, ":")
	}
	return host
}

// Serve answers the requests on conn, which it owns, and hands a stream to handle, which owns that and
// blocks until it is done. source is valid when a trusted peer has named another client; its port is
// 0. conn's deadline bounds the time until handle, and is left to it.
func (s *Server) Serve(ctx context.Context, conn net.Conn, handle func(ctx context.Context, conn net.Conn, source netip.AddrPort)) error {
	c := netio.NewConn(conn)
	for n := range maxRequests {
		stream, source, err := s.next(c, n == maxRequests-1)
		if err != nil {
			return err
		}
		if stream != nil {
			handle(ctx, stream, source)
			return nil
		}
	}
	return nil // not reached: the last page ends the connection
}

// next answers one request. It returns a stream, or neither that nor an error when another request
// may follow. After an error the connection is closed.
func (s *Server) next(c *netio.Conn, last bool) (*Conn, netip.AddrPort, error) {
	var none netip.AddrPort
	r, n, err := http1.Read(c)
	var refused *http1.StatusError
	if errors.As(err, &refused) {
		return nil, none, s.end(c, &http1.Page{Status: refused.Status}, refused.Cause)
	}
	if err != nil {
		_ = c.Close()
		return nil, none, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	early, status := s.match(&r)
	if status == 0 {
		source := s.source(c.RemoteAddr(), &r)
		answer := s.accept(&r, len(early) > 0)
		_, _ = c.Discard(n) // n bytes are buffered
		if _, err := c.Write(answer); err != nil {
			_ = c.Close()
			return nil, none, fmt.Errorf("answer upgrade: %w", err)
		}
		return newConn(c, early), source, nil
	}
	page := &http1.Page{
		Status:    status,
		KeepAlive: r.KeepAlive && !last && r.Body >= 0 && r.Body <= maxBody && status != 400,
		NoBody:    string(r.Method) == "HEAD",
		Padding:   http1.Padded(&r),
	}
	if !page.KeepAlive {
		return nil, none, s.end(c, page, fmt.Sprintf("%.16q %.64q", r.Method, r.Path))
	}
	body := int(r.Body)
	_, _ = c.Discard(n)
	if err := s.send(c, page); err != nil {
		_ = c.Close()
		return nil, none, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if _, err := c.Discard(body); err != nil {
		_ = c.Close()
		return nil, none, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil, none, nil
}

func (s *Server) send(c io.Writer, p *http1.Page) error {
	p.Now, p.Server = time.Now(), s.name
	_, err := c.Write(p.Append(nil))
	return err
}

// end sends the last page of a connection.
func (s *Server) end(c net.Conn, p *http1.Page, cause string) error {
	if err := s.send(c, p); err != nil {
		_ = c.Close()
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	http1.Linger(c)
	return fmt.Errorf("%w: %s, answered with %d", ErrRefused, cause, p.Status)
}

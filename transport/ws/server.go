// Package ws is the server side of WebSocket as a carrier of streams. Whoever does not know the path
// meets an ordinary web server without content.
package ws

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"heki/internal/netio"
	"heki/option"
	"heki/transport/internal/http1"
)

// maxEarly bounds early data in bytes; clients are configured for 2048.
const maxEarly = 8 << 10

// Server answers on the connections of one inbound. Its methods are safe for concurrent use.
type Server struct {
	path        string
	host        string // lower case, without a port; empty: any
	earlyInPath bool
	earlyHeader string
	site        http1.Site
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
	var early []byte
	r, n, err := s.site.Await(c, func(r *http1.Request) (status int) {
		early, status = s.match(r)
		return status
	})
	if err != nil {
		return err
	}
	source := s.source(c.RemoteAddr(), &r)
	answer := s.accept(&r, len(early) > 0)
	_, _ = c.Discard(n) // n bytes are buffered
	if _, err := c.Write(answer); err != nil {
		_ = c.Close()
		return fmt.Errorf("answer upgrade: %w", err)
	}
	handle(ctx, newConn(c, early), source)
	return nil
}

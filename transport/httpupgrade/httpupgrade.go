// Package httpupgrade carries a stream behind the handshake of a WebSocket, without the frames.
// Whoever does not know the path meets an ordinary web server without content.
//
// Sources: sing-box transport/v2rayhttpupgrade, Xray transport/internet/httpupgrade.
package httpupgrade

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"heki/internal/netio"
	"heki/option"
	"heki/transport/internal/http1"
	"heki/transport/internal/web"
)

// Server answers on the connections of one inbound. Its methods are safe for concurrent use.
type Server struct {
	path    web.Path
	hosts   web.Hosts
	site    http1.Site
	headers string // of the 101, as lines
	trusted []netip.Prefix
}

// New prepares a server. Headers that name another client are believed when the peer is in trusted.
func New(o *option.Transport, trusted []netip.Prefix) (*Server, error) {
	server, fields, err := web.Fields(o.Headers)
	if err != nil {
		return nil, err
	}
	return &Server{
		path:    web.NewPath(o.Path),
		hosts:   web.NewHosts(o.Host),
		site:    http1.Site{Name: server},
		headers: web.Lines(fields),
		trusted: trusted,
	}, nil
}

// Serve answers the requests on conn, which it owns, and hands the stream behind an upgrade to handle,
// which owns that and blocks until it is done. What came with the request is the start of the stream.
// source is valid when a trusted peer has named another client. conn's deadline bounds the time until
// handle, and is left to it.
func (s *Server) Serve(ctx context.Context, conn net.Conn, handle func(ctx context.Context, conn net.Conn, source netip.AddrPort)) error {
	c := netio.NewConn(conn)
	r, n, err := s.site.Await(c, s.match)
	if err != nil {
		return err
	}
	source := http1.Source(s.trusted, c.RemoteAddr(), &r)
	_, _ = c.Discard(n) // n bytes are buffered
	answer := make([]byte, 0, 256+len(s.headers))
	answer = append(answer, "HTTP/1.1 101 Switching Protocols\r\n"...)
	answer = http1.AppendServerDate(answer, s.site.Name, time.Now())
	answer = append(answer, "Connection: upgrade\r\nUpgrade: websocket\r\n"...)
	answer = append(append(answer, s.headers...), "\r\n"...)
	if _, err := c.Write(answer); err != nil {
		_ = c.Close()
		return fmt.Errorf("answer upgrade: %w", err)
	}
	handle(ctx, c, source)
	return nil
}

// match says whether a request opens a stream: 0. A key is a browser's, or a client's of ws.
func (s *Server) match(r *http1.Request) int {
	if string(r.Method) != "GET" {
		return http1.NotFound(r)
	}
	_, keys := r.Get("Sec-WebSocket-Key")
	if keys > 0 || r.Minor < 1 || r.Body != 0 || !s.path.Equal(r.Path) || !s.hosts.Match(r.Host) ||
		!r.Has("Upgrade", "websocket") || !r.Has("Connection", "upgrade") {
		return 404
	}
	return 0
}

// ErrRefused says that a server does not upgrade.
var ErrRefused = http1.ErrNoUpgrade

// Dialer asks servers for streams. Its methods are safe for concurrent use.
type Dialer struct{ upgrader *http1.Upgrader }

// NewDialer prepares a dialer. host is asked for when o names none.
func NewDialer(o *option.Transport, host string) (*Dialer, error) {
	u, err := http1.NewUpgrader(o, host)
	if err != nil {
		return nil, err
	}
	return &Dialer{u}, nil
}

// Dial asks on conn, which it owns, for a stream and returns that. ctx bounds the time until then.
func (d *Dialer) Dial(ctx context.Context, conn net.Conn) (net.Conn, error) {
	c, err := d.upgrader.Dial(ctx, conn, "", "", func(*http1.Response) bool { return true })
	if err != nil {
		return nil, err // a nil *netio.Conn would be no nil
	}
	return c, nil
}

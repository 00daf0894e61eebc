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
	"heki/transport/internal/web"
)

// maxEarly bounds early data in bytes; clients are configured for 2048.
const maxEarly = 8 << 10

// Server answers on the connections of one inbound. Its methods are safe for concurrent use.
type Server struct {
	path        web.Path
	hosts       web.Hosts
	earlyInPath bool
	earlyHeader string
	site        http1.Site
	headers     string // of the 101, as lines
	trusted     []netip.Prefix
}

// New prepares a server. Headers that name another client are believed when the peer is in trusted.
func New(o *option.Transport, trusted []netip.Prefix) (*Server, error) {
	server, fields, err := web.Fields(o.Headers)
	if err != nil {
		return nil, err
	}
	_, query, _ := strings.Cut(o.Path, "?")
	return &Server{
		path:        web.NewPath(o.Path),
		hosts:       web.NewHosts(o.Host),
		earlyInPath: o.EarlyDataHeaderName == "" && (o.MaxEarlyData > 0 || strings.HasPrefix(query, "ed=")),
		earlyHeader: o.EarlyDataHeaderName,
		site:        http1.Site{Name: server},
		headers:     web.Lines(fields),
		trusted:     trusted,
	}, nil
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
	source := http1.Source(s.trusted, c.RemoteAddr(), &r)
	answer := s.accept(&r, len(early) > 0)
	_, _ = c.Discard(n) // n bytes are buffered
	if _, err := c.Write(answer); err != nil {
		_ = c.Close()
		return fmt.Errorf("answer upgrade: %w", err)
	}
	handle(ctx, newConn(c, early), source)
	return nil
}

// Package simpleobfs is the server's side of simple-obfs over HTTP: a stream that begins with the head
// of a WebSocket request and is answered behind the head that accepts it. What follows is neither
// WebSocket nor HTTP. Whoever asks for something else meets a web server without content.
//
// Source: simple-obfs 0.0.5, src/obfs_http.c; testdata has what Debian's obfs-local and obfs-server send.
package simpleobfs

import (
	"context"
	"crypto/rand"
	"encoding/base64"
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
	hosts web.Hosts // none: any
	path  web.Path  // "": any
	site  http1.Site
}

// New prepares a server.
func New(o *option.Obfs) *Server {
	s := new(Server)
	if o.MatchHost() {
		s.hosts = web.NewHosts(o.Host)
	}
	if o.MatchPath() {
		s.path = web.NewPath(o.Path)
	}
	return s
}

// Serve takes the head off conn, which it owns, and hands what follows to handle, which owns that and
// blocks until it is done. The head of the answer goes out with the first bytes that handle writes, in
// one piece: some clients read it with a single read. From then on the stream is the connection
// itself, and costs nothing. Requests for anything else are answered as a web server does. conn's
// deadline bounds the time until handle, and is left to it.
func (s *Server) Serve(ctx context.Context, conn net.Conn, handle func(ctx context.Context, conn net.Conn, source netip.AddrPort)) error {
	c := netio.NewConn(conn)
	r, n, err := s.site.Await(c, s.match)
	if err != nil {
		return err
	}
	answer := appendAnswer(make([]byte, 0, 256), &r, s.site.Name, time.Now())
	_, _ = c.Discard(n) // n bytes are buffered; r's slices end here
	handle(ctx, http1.NewStream(c, answer, nil), netip.AddrPort{})
	return nil
}

// match says whether a request opens a stream: status 0. Its body, whose length some clients tell and
// some do not, is the start of the stream.
func (s *Server) match(r *http1.Request) int {
	if r.Has("Upgrade", "websocket") && s.hosts.Match(r.Host) && (s.path == "" || s.path.Equal(r.Path)) {
		return 0
	}
	return http1.NotFound(r)
}

// appendAnswer writes the head that accepts r, with the headers of obfs-server in its order. Two
// values are what they should be rather than obfs-server's, which no client looks at: the server is the
// one that our pages name, and the key is answered as WebSocket wants it.
func appendAnswer(b []byte, r *http1.Request, server string, now time.Time) []byte {
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\n"...)
	b = http1.AppendServerDate(b, server, now)
	b = append(b, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	key, n := r.Get("Sec-WebSocket-Key")
	if n == 0 { // a client that leaves it out gets some key
		var random [16]byte
		_, _ = rand.Read(random[:])
		key = []byte(base64.StdEncoding.EncodeToString(random[:]))
	}
	b = append(b, web.AcceptKey(string(key))...)
	return append(b, "\r\n\r\n"...)
}

// Package httpheader is V2Ray's obfuscation of TCP: a stream that begins with the head of an HTTP/1
// request and is answered behind the head of a response. The rest is neither a body nor framed.
//
// Source: Xray transport/internet/headers/http.
package httpheader

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"heki/internal/netio"
	"heki/option"
	"heki/transport/internal/http1"
	"heki/transport/internal/web"
)

// Server answers on the connections of one inbound. Its methods are safe for concurrent use.
type Server struct {
	paths   []web.Path
	site    http1.Site
	headers string // of the answer, as lines
}

// New prepares a server. Only the path of a request matters: clients send any Host.
func New(o *option.Transport) (*Server, error) {
	server, fields, err := web.Fields(o.Headers)
	if err != nil {
		return nil, err
	}
	if len(fields) == 0 { // what V2Ray's servers send
		fields = []web.Field{
			{Name: "Content-Type", Value: "application/octet-stream"},
			{Name: "Pragma", Value: "no-cache"},
			{Name: "Cache-Control", Value: "private, no-cache"},
		}
	}
	return &Server{paths: paths(o), site: http1.Site{Name: server}, headers: web.Lines(fields)}, nil
}

// paths are path, unless it is a default beside paths, and paths.
func paths(o *option.Transport) []web.Path {
	var all []web.Path
	if len(o.Paths) == 0 || o.Path != "" && o.Path != "/" {
		all = append(all, web.NewPath(o.Path))
	}
	for _, path := range o.Paths {
		all = append(all, web.NewPath(path))
	}
	return all
}

// Serve takes the head off conn, which it owns, and hands what follows to handle, which owns that and
// blocks until it is done. Requests for other paths are answered as a web server does. conn's deadline
// bounds the time until handle, and is left to it.
func (s *Server) Serve(ctx context.Context, conn net.Conn, handle func(ctx context.Context, conn net.Conn, source netip.AddrPort)) error {
	c := netio.NewConn(conn)
	_, n, err := s.site.Await(c, s.match)
	if err != nil {
		return err
	}
	_, _ = c.Discard(n) // n bytes are buffered
	answer := append(make([]byte, 0, 256+len(s.headers)), "HTTP/1.1 200 OK\r\n"...)
	answer = http1.AppendServerDate(answer, s.site.Name, time.Now())
	answer = append(answer, "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n"...)
	answer = append(append(answer, s.headers...), "\r\n"...)
	handle(ctx, http1.NewStream(c, answer, nil), netip.AddrPort{})
	return nil
}

func (s *Server) match(r *http1.Request) int {
	if slices.ContainsFunc(s.paths, func(p web.Path) bool { return p.Equal(r.Path) }) {
		return 0
	}
	return http1.NotFound(r)
}

// Dialer puts the head of a request before streams. Its methods are safe for concurrent use.
type Dialer struct {
	method  string
	paths   []web.Path
	hosts   []string
	host    string
	headers string
}

// NewDialer prepares a dialer. host is asked for when o names none.
func NewDialer(o *option.Transport, host string) (*Dialer, error) {
	fields, err := web.RequestFields(o.Headers)
	if err != nil {
		return nil, err
	}
	d := &Dialer{method: o.Method, paths: paths(o), hosts: o.Host, host: host}
	if d.method == "" {
		d.method = "GET"
	}
	if len(o.Headers) == 0 { // what V2Ray's clients send
		fields = append(fields, web.Field{Name: "Accept-Encoding", Value: "gzip, deflate"}, web.Field{Name: "Pragma", Value: "no-cache"})
	}
	d.headers = web.Lines(fields)
	return d, nil
}

// Dial returns a stream over conn, which it owns. Nothing is sent before the first write.
func (d *Dialer) Dial(_ context.Context, conn net.Conn) (net.Conn, error) {
	head := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: keep-alive\r\n%s\r\n",
		d.method, web.Pick(d.paths, "/").Encoded(), web.Pick(d.hosts, d.host), d.headers)
	return http1.NewStream(netio.NewConn(conn), head, func(r *http1.Response) error {
		if r.Status != 200 {
			return fmt.Errorf("%w: status %d", http1.ErrBadResponse, r.Status)
		}
		return nil
	}), nil
}

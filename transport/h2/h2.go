// Package h2 carries streams as the bodies of HTTP/2 requests and their answers, without frames of its
// own: V2Ray's and sing-box's transport "http". Without TLS clients speak HTTP/2 with prior knowledge,
// or, sing-box's, HTTP/1.1 whose two bodies are raw bytes. Whoever does not know the path meets an
// ordinary web server without content.
//
// Sources: sing-box transport/v2rayhttp, V2Ray transport/internet/http.
package h2

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"heki/internal/netio"
	"heki/option"
	"heki/transport/internal/h2"
	"heki/transport/internal/http1"
	"heki/transport/internal/web"
)

// Server answers on the connections of one inbound. Its methods are safe for concurrent use.
type Server struct {
	path    web.Path
	hosts   web.Hosts
	method  string // empty: any
	site    http1.Site
	fields  []web.Field
	trusted []netip.Prefix
	h2      h2.Server
}

// New prepares a server. Headers that name another client are believed when the peer is in trusted.
func New(o *option.Transport, trusted []netip.Prefix) (*Server, error) {
	server, fields, err := web.Fields(o.Headers)
	if err != nil {
		return nil, err
	}
	s := &Server{
		path:    web.NewPath(o.Path),
		hosts:   web.NewHosts(o.Host),
		method:  o.Method,
		site:    http1.Site{Name: server},
		fields:  append([]web.Field{{Name: "Cache-Control", Value: "no-store"}}, fields...),
		trusted: trusted,
	}
	s.h2 = h2.Server{Name: server, Idle: time.Duration(o.IdleTimeout), Match: s.match, Head: s.head}
	return s, nil
}

// Serve answers the requests on conn, which it owns, and calls handle for each stream, in goroutines
// of their own when the client speaks HTTP/2; handle recovers from its panics itself. source is valid
// when a trusted peer has named another client. conn's deadline bounds the time until the first stream
// clears its own; later ones have one of their own until then.
func (s *Server) Serve(ctx context.Context, conn net.Conn, handle func(ctx context.Context, conn net.Conn, source netip.AddrPort)) error {
	c := netio.NewConn(conn)
	if h2.Sniff(c) {
		return s.h2.Serve(ctx, c, func(ctx context.Context, st *h2.Stream, m *h2.Message) {
			handle(ctx, st, h2.Source(s.trusted, st.RemoteAddr(), m))
		})
	}
	r, n, err := s.site.Await(c, s.match1)
	if err != nil {
		return err
	}
	source := http1.Source(s.trusted, c.RemoteAddr(), &r)
	_, _ = c.Discard(n) // n bytes are buffered
	answer := append(make([]byte, 0, 256), "HTTP/1.1 200 OK\r\n"...)
	answer = http1.AppendServerDate(answer, s.site.Name, time.Now())
	answer = append(append(answer, web.Lines(s.fields)...), "\r\n"...)
	// It goes with the first bytes: sing-box's client may close before it reads a head that came alone,
	// upon which its kernel resets the connection and takes the end of the upload with it.
	handle(ctx, http1.NewStream(c, answer, nil), source)
	return nil
}

// match says whether a request of HTTP/2 opens a stream: 0. One whose length is known does not.
func (s *Server) match(m *h2.Message) int {
	path, _ := m.Split()
	if m.End || m.Get("content-length") != "" || !s.matches(m.Method, []byte(path), []byte(m.Authority)) {
		return http1.NotFoundFor(m.Method)
	}
	return 0
}

// match1 is match for HTTP/1. Methods whose requests have no body are for browsers, unless configured.
func (s *Server) match1(r *http1.Request) int {
	method := string(r.Method)
	bodiless := method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "DELETE"
	if r.Body < 0 || r.Minor < 1 || bodiless && s.method != method || !s.matches(method, r.Path, r.Host) {
		return http1.NotFound(r)
	}
	return 0
}

// matches compares the start of the path, as V2Ray and sing-box do.
func (s *Server) matches(method string, path, host []byte) bool {
	_, ok := s.path.Rest(path)
	return ok && (s.method == "" || s.method == method) && s.hosts.Match(host)
}

// head is the header block that opens a stream.
func (s *Server) head(*h2.Message) []byte {
	b := h2.AppendServerDate(h2.AppendStatus(nil, http.StatusOK), s.site.Name, time.Now())
	return h2.AppendFields(b, s.fields)
}

// Dialer opens streams to one server over connections that it shares. Its methods are safe for
// concurrent use.
type Dialer struct {
	client *h2.Client
	method string
	scheme string
	path   string
	hosts  []string
	host   string
	fields []web.Field
}

// NewDialer prepares a dialer. host is asked for when o names none; secure says that dial does TLS,
// with "h2" as ALPN.
func NewDialer(o *option.Transport, host string, secure bool, dial func(ctx context.Context) (net.Conn, error)) (*Dialer, error) {
	fields, err := web.RequestFields(o.Headers)
	if err != nil {
		return nil, err
	}
	d := &Dialer{
		client: h2.NewClient(h2.ClientOptions{
			Dial: dial, Ping: time.Duration(o.IdleTimeout), Pong: time.Duration(o.PingTimeout), Always: o.PermitWithoutStream,
		}),
		method: o.Method, path: web.NewPath(o.Path).Encoded(), hosts: o.Host, host: host, fields: fields, scheme: "http",
	}
	if d.method == "" {
		d.method = http.MethodPut
	}
	if secure {
		d.scheme = "https"
	}
	return d, nil
}

// DialContext opens a stream. It does not wait for the server's answer: reading does.
func (d *Dialer) DialContext(ctx context.Context) (net.Conn, error) {
	head := h2.AppendRequest(nil, d.method, d.scheme, web.Pick(d.hosts, d.host), d.path)
	st, err := d.client.Open(ctx, h2.AppendFields(head, d.fields), func(m *h2.Message, trailers bool) error {
		if !trailers && m.Status != http.StatusOK {
			return fmt.Errorf("%w: status %d", h2.ErrNoStream, m.Status)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return st, nil
}

// Close ends all streams and connections.
func (d *Dialer) Close() error { return d.client.Close() }

// Package grpc carries streams in the messages of gRPC calls, known as gun, and Xray's multi mode. The
// framing is our own, over HTTP/2. Whoever does not know the service meets an ordinary web server
// without content.
//
// Sources: Xray transport/internet/grpc, sing-box transport/v2raygrpc and v2raygrpclite.
package grpc

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"heki/internal/netio"
	"heki/option"
	"heki/transport/internal/h2"
	"heki/transport/internal/http1"
	"heki/transport/internal/web"
)

const contentType = "application/grpc"

// Server answers on the connections of one inbound. Its methods are safe for concurrent use.
type Server struct {
	tun, multi web.Path
	trusted    []netip.Prefix
	h2         h2.Server
	site       http1.Site
}

// New prepares a server. Metadata that name another client are believed when the peer is in trusted.
func New(o *option.Transport, trusted []netip.Prefix) (*Server, error) {
	s := &Server{trusted: trusted}
	tun, multi := paths(o.ServiceName)
	s.tun, s.multi = web.Path(strings.Join(tun, "/")), web.Path(strings.Join(multi, "/"))
	s.h2 = h2.Server{
		Idle:     time.Duration(o.IdleTimeout),
		Match:    s.match,
		Head:     head,
		Trailers: h2.AppendField(nil, "grpc-status", "0"),
	}
	return s, nil
}

// paths returns the segments of the two calls of a service. A name without a slash at its start is one
// segment; else it is Xray's "/my/service/Tun|TunMulti", of which clients have "/my/service/Tun".
func paths(service string) (tun, multi []string) {
	if service == "" {
		service = option.DefaultServiceName
	}
	if !strings.HasPrefix(service, "/") {
		return []string{"", service, "Tun"}, []string{"", service, "TunMulti"}
	}
	all := strings.Split(service, "/")
	last := len(all) - 1
	one, rest, several := strings.Cut(all[last], "|")
	two, _, _ := strings.Cut(rest, "|")
	if !several {
		two = one
	}
	base := all[:last]
	if len(base) == 1 { // "/a" is the call a of the service ""
		base = []string{"", ""}
	}
	return append(base[:len(base):len(base)], one), append(base[:len(base):len(base)], two)
}

// Serve answers the calls on conn, which it owns, and runs handle for each in a goroutine of its own;
// handle recovers from its panics itself. source is valid when a trusted peer has named another
// client. conn's deadline bounds the time until the first stream clears its own; later ones have one
// of their own until then.
func (s *Server) Serve(ctx context.Context, conn net.Conn, handle func(ctx context.Context, conn net.Conn, source netip.AddrPort)) error {
	c := netio.NewConn(conn)
	if !h2.Sniff(c) {
		return s.site.Serve(c)
	}
	return s.h2.Serve(ctx, c, func(ctx context.Context, st *h2.Stream, m *h2.Message) {
		handle(ctx, &Conn{Stream: st, server: true}, h2.Source(s.trusted, st.RemoteAddr(), m))
	})
}

// match says whether a request is a call of the service: 0.
func (s *Server) match(m *h2.Message) int {
	path, _ := m.Split()
	if m.End || m.Method != http.MethodPost || !strings.HasPrefix(m.Get("content-type"), contentType) ||
		!s.tun.Equal([]byte(path)) && !s.multi.Equal([]byte(path)) {
		return http1.NotFoundFor(m.Method)
	}
	return 0
}

func head(*h2.Message) []byte {
	b := h2.AppendServerDate(h2.AppendStatus(nil, http.StatusOK), "", time.Now())
	return h2.AppendField(b, "content-type", contentType)
}

// Dialer makes calls to one server over connections that it shares. Its methods are safe for
// concurrent use.
type Dialer struct {
	client *h2.Client
	head   []byte
}

// NewDialer prepares a dialer. host is the authority; secure says that dial does TLS, with "h2" as
// ALPN.
func NewDialer(o *option.Transport, host string, secure bool, dial func(ctx context.Context) (net.Conn, error)) (*Dialer, error) {
	tun, _ := paths(o.ServiceName)
	for i := range tun {
		tun[i] = url.PathEscape(tun[i])
	}
	scheme := "http"
	if secure {
		scheme = "https"
	}
	b := h2.AppendRequest(nil, http.MethodPost, scheme, host, strings.Join(tun, "/"))
	b = h2.AppendField(b, "content-type", contentType)
	b = h2.AppendField(b, "te", "trailers")
	b = h2.AppendField(b, "user-agent", web.UserAgent)
	return &Dialer{head: b, client: h2.NewClient(h2.ClientOptions{
		Dial: dial, Ping: time.Duration(o.IdleTimeout), Pong: time.Duration(o.PingTimeout), Always: o.PermitWithoutStream,
	})}, nil
}

// DialContext makes a call. It does not wait for the server's answer: reading does.
func (d *Dialer) DialContext(ctx context.Context) (net.Conn, error) {
	st, err := d.client.Open(ctx, d.head, expect)
	if err != nil {
		return nil, err
	}
	return &Conn{Stream: st}, nil
}

// Close ends all calls and connections.
func (d *Dialer) Close() error { return d.client.Close() }

// expect judges the answer to a call, and the status at its end.
func expect(m *h2.Message, trailers bool) error {
	if !trailers && (m.Status != http.StatusOK || !strings.HasPrefix(m.Get("content-type"), contentType)) {
		return fmt.Errorf("%w: status %d, %s", h2.ErrNoStream, m.Status, m.Get("content-type"))
	}
	if status := m.Get("grpc-status"); (trailers || m.End) && status != "0" && status != "" {
		return fmt.Errorf("%w: grpc status %s: %s", h2.ErrNoStream, status, m.Get("grpc-message"))
	}
	return nil
}

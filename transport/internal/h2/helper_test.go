package h2

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"

	"heki/internal/netio"
	"heki/transport/internal/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tunnel opens a stream for every PUT of /in, and echoes.
func tunnel() *Server {
	return &Server{
		Match: func(m *Message) int {
			if path, _ := m.Split(); path == "/in" && m.Method == "PUT" && !m.End {
				return 0
			}
			return 404
		},
		Head: func(*Message) []byte { return AppendField(AppendStatus(nil, 200), "cache-control", "no-store") },
	}
}

// put is the header block of a request for a stream of tunnel.
func put() []byte {
	b := appendString([]byte{0x42}, "PUT")
	b = AppendField(append(b, 0x86), ":path", "/in")
	return AppendField(b, ":authority", "a.example")
}

func ok(m *Message, trailers bool) error {
	if !trailers && m.Status != 200 {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func echo(_ context.Context, s *Stream, _ *Message) { transporttest.Mirror(s) }

// serve runs srv on a connection behind its preface; what Serve returns comes from the channel.
func serve(t testing.TB, srv *Server, conn net.Conn, handle func(context.Context, *Stream, *Message)) chan error {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		c := netio.NewConn(conn)
		if !Sniff(c) {
			_ = conn.Close()
			c.Drop()
			result <- io.ErrUnexpectedEOF
			return
		}
		result <- srv.Serve(context.Background(), c, handle)
	}()
	return result
}

// dialer returns a client, all of whose connections srv serves.
func dialer(t testing.TB, srv *Server, handle func(context.Context, *Stream, *Message)) (*Client, *int) {
	t.Helper()
	dials := new(int)
	var results []chan error
	k := NewClient(ClientOptions{Dial: func(context.Context) (net.Conn, error) {
		*dials++
		client, server := transporttest.Pair(t)
		_ = server.SetDeadline(time.Now().Add(time.Minute))
		results = append(results, serve(t, srv, server, handle))
		return client, nil
	}})
	t.Cleanup(func() {
		_ = k.Close()
		for _, r := range results {
			<-r
		}
	})
	return k, dials
}

// browser returns net/http's client of HTTP/2 on one connection that srv serves.
func browser(t testing.TB, srv *Server, handle func(context.Context, *Stream, *Message)) (*http.Client, net.Conn, chan error) {
	t.Helper()
	client, server := transporttest.Pair(t)
	_ = server.SetDeadline(time.Now().Add(time.Minute))
	result := serve(t, srv, server, handle)
	transport := &http2.Transport{AllowHTTP: true, DialTLSContext: func(context.Context, string, string, *tls.Config) (net.Conn, error) {
		return client, nil
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}, client, result
}

// duplex is a request's stream as net/http sees it.
type duplex struct {
	net.Conn // nil
	up       *io.PipeWriter
	down     io.ReadCloser
}

func (d *duplex) Read(p []byte) (int, error)  { return d.down.Read(p) }
func (d *duplex) Write(p []byte) (int, error) { return d.up.Write(p) }
func (d *duplex) CloseWrite() error           { return d.up.Close() }
func (d *duplex) Close() error                { return d.down.Close() }

func openWith(t testing.TB, client *http.Client, url string) *duplex {
	t.Helper()
	r, w := io.Pipe()
	req, err := http.NewRequest("PUT", url, r)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	return &duplex{up: w, down: resp.Body}
}

// sniffing is a transport that speaks nothing else.
type sniffing struct{ *Server }

func (s sniffing) Serve(ctx context.Context, conn net.Conn, handle func(context.Context, net.Conn, netip.AddrPort)) error {
	c := netio.NewConn(conn)
	if !Sniff(c) {
		c.Drop()
		return c.Close()
	}
	return s.Server.Serve(ctx, c, func(ctx context.Context, st *Stream, _ *Message) { handle(ctx, st, netip.AddrPort{}) })
}

package transport

import (
	"bytes"
	"context"
	stdtls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"heki/internal/netio"
	"heki/option"
	"heki/transport/internal/h2"
	"heki/transport/internal/transporttest"
	"heki/transport/tls"
)

// every is one configuration of each transport.
var every = []*option.Transport{
	nil,
	{Type: "ws", Path: "/ws"},
	{Type: "http", Path: "/h2", Host: option.Listable[string]{"a.example"}},
	{Type: "grpc", ServiceName: "/a/b|c"},
	{Type: "httpupgrade", Path: "/up"},
	{Type: "tcp_http_header"},
	{Type: "ws", Path: "/early", MaxEarlyData: 2048},
}

// node is a port that serves a transport as an inbound does.
type node struct {
	net.Listener
	secure *tls.Server // nil: no TLS
	server Server      // nil: plain TCP
	wg     sync.WaitGroup
	mu     sync.Mutex
	conns  int
}

func newNode(t testing.TB, o *option.Transport, secure *tls.Server) *node {
	t.Helper()
	s, err := NewServer(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Listener: l, secure: secure, server: s}
	n.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.mu.Lock()
			n.conns++
			n.mu.Unlock()
			n.wg.Go(func() { n.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		n.wg.Wait()
	})
	return n
}

func (n *node) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if n.secure != nil {
		secured, err := n.secure.Handshake(context.Background(), c)
		if err != nil {
			return
		}
		c = secured
	}
	if n.server == nil {
		transporttest.Mirror(c)
		return
	}
	_ = n.server.Serve(context.Background(), c, func(_ context.Context, c net.Conn, _ netip.AddrPort) { transporttest.Mirror(c) })
}

// dialer returns a dialer to the node. alpn is what its TLS offers.
func (n *node) dialer(t testing.TB, o *option.Transport, alpn []string) Dialer {
	t.Helper()
	d, err := NewDialer(o, "a.example", n.secure != nil, func(context.Context) (net.Conn, error) { return n.dial(alpn) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func (n *node) dial(alpn []string) (net.Conn, error) {
	c, err := net.Dial("tcp", n.Addr().String())
	if err != nil || n.secure == nil {
		return c, err
	}
	return stdtls.Client(c, &stdtls.Config{InsecureSkipVerify: true, ServerName: "a.example", NextProtos: alpn}), nil
}

// there sends n bytes over c and wants them back.
func there(c net.Conn, n int) error {
	data := bytes.Repeat([]byte(fmt.Sprintf("%09d", rand.N(1_000_000_000))), 1+n/9)
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(bytes.Clone(data))
		sent <- err
	}()
	got := make([]byte, len(data))
	_, err := io.ReadFull(c, got)
	if err == nil && !bytes.Equal(got, data) {
		err = errors.New("other bytes")
	}
	return errors.Join(err, <-sent)
}

// Every transport over TCP and TLS, both sides ours: alone, in parallel, one after another.
func TestCells(t *testing.T) {
	for _, o := range every {
		for _, secured := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/tls=%v", kind(o), secured), func(t *testing.T) {
				var secure *tls.Server
				if secured {
					secure = newTLS(t, o)
				}
				n := newNode(t, o, secure)
				d := n.dialer(t, o, DialALPN(o))
				var wg sync.WaitGroup
				for i := range 20 {
					wg.Go(func() {
						c, err := d.DialContext(t.Context())
						if err == nil {
							err = there(c, i*i*3000)
						}
						if err != nil {
							t.Error(err)
							return
						}
						_ = c.Close()
					})
				}
				wg.Wait()
				if multi := kind(o) == "http" || kind(o) == "grpc"; multi != (n.conns == 1) {
					t.Errorf("%d connections", n.conns)
				}
			})
		}
	}
}

// Old clients negotiate nothing and speak HTTP/2.
func TestNoALPN(t *testing.T) {
	for _, o := range every[2:4] {
		n := newNode(t, o, newTLS(t, o))
		c, err := n.dialer(t, o, nil).DialContext(t.Context())
		if err == nil {
			err = there(c, 100_000)
		}
		if err != nil {
			t.Errorf("%s: %v", o.Type, err)
		}
		_ = c.Close()
	}
}

// Whoever opens the address in a browser meets nginx, in the version that both know.
func TestBrowser(t *testing.T) {
	for _, o := range every[1:] {
		if o.Type == "tcp_http_header" {
			continue // its path is the only one
		}
		for _, two := range []bool{false, true} {
			n := newNode(t, o, newTLS(t, o))
			transport := &http.Transport{TLSClientConfig: &stdtls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: two}
			if !two {
				transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
			}
			resp, err := transport.RoundTrip(request(t, "https://"+n.Addr().String()+"/"))
			if err != nil {
				t.Fatalf("%s: %v", o.Type, err)
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			want := 1
			if two && (o.Type == "http" || o.Type == "grpc") {
				want = 2
			}
			if resp.StatusCode != 404 || resp.ProtoMajor != want || resp.Header.Get("Server") != "nginx" ||
				!strings.Contains(string(body), "<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx</center>") {
				t.Errorf("%s, %v: %s %s, %v, %q", o.Type, two, resp.Proto, resp.Status, resp.Header, body)
			}
			transport.CloseIdleConnections()
		}
	}
}

func request(t testing.TB, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDecoy(t *testing.T) {
	ask := func(in string) (string, error) {
		client, server := transporttest.Pair(t)
		_ = server.SetDeadline(time.Now().Add(time.Minute))
		result := make(chan error, 1)
		go func() { result <- Decoy(t.Context(), netio.NewConn(server)) }()
		_, _ = io.WriteString(client, in)
		all, err := io.ReadAll(client)
		_ = client.Close()
		return string(all), errors.Join(err, <-result)
	}
	for in, want := range map[string]string{
		"GET / HTTP/1.0\r\n\r\n": "HTTP/1.1 404 Not Found\r\n",
		"0123456789abcdef":       "HTTP/1.1 400 Bad Request\r\n",
		"BREW / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n": "HTTP/1.1 405 Not Allowed\r\n",
	} {
		if got, err := ask(in); !strings.HasPrefix(got, want) || err == nil {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	client, server := transporttest.Pair(t)
	_ = server.SetDeadline(time.Now().Add(time.Minute))
	result := make(chan error, 1)
	go func() { result <- Decoy(t.Context(), netio.NewConn(server)) }()
	transport := &http2.Transport{AllowHTTP: true, DialTLSContext: func(context.Context, string, string, *stdtls.Config) (net.Conn, error) { return client, nil }}
	resp, err := transport.RoundTrip(request(t, "http://a/"))
	if err != nil || resp.StatusCode != 404 {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
	_ = client.Close()
	<-result

	// It ends with its context.
	ctx, cancel := context.WithCancel(t.Context())
	_, server = transporttest.Pair(t)
	go func() { result <- Decoy(ctx, netio.NewConn(server)) }()
	cancel()
	<-result
}

// BenchmarkIdleGRPC prints what an idle call over TLS costs, the goroutines that read the connection
// and the stream included, each on a connection of its own.
func BenchmarkIdleGRPC(b *testing.B) {
	const conns = 200
	o := every[3]
	secure := newTLS(b, o)
	server, err := NewServer(o, nil)
	if err != nil {
		b.Fatal(err)
	}
	var total float64
	for b.Loop() {
		var wg sync.WaitGroup
		waiting := make(chan struct{}, conns)
		pairs := make([][2]net.Conn, conns)
		for i := range pairs {
			pairs[i][0], pairs[i][1] = transporttest.Pair(b)
		}
		before := memory()
		for i := range conns {
			wg.Go(func() {
				conn, err := secure.Handshake(context.Background(), pairs[i][1])
				if err != nil {
					b.Error(err)
					return
				}
				_ = server.Serve(context.Background(), conn, func(_ context.Context, c net.Conn, _ netip.AddrPort) {
					_ = c.SetDeadline(time.Time{})
					w := netio.NewWaiter(c)
					if p, err := w.WaitReadBuffer(); err == nil {
						netio.Put(p)
						waiting <- struct{}{}
						_, _ = w.WaitReadBuffer()
					}
					_ = c.Close()
				})
			})
			c := stdtls.Client(pairs[i][0], &stdtls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
			_, _ = io.WriteString(c, h2.Preface)
			f := http2.NewFramer(c, c)
			head := h2.AppendRequest(nil, "POST", "https", "a.example", "/a/b")
			err := errors.Join(f.WriteSettings(), f.WriteHeaders(http2.HeadersFrameParam{
				StreamID: 1, BlockFragment: h2.AppendField(head, "content-type", "application/grpc"), EndHeaders: true,
			}), f.WriteData(1, false, []byte("\x00\x00\x00\x00\x03\x0a\x01x")))
			if err != nil {
				b.Fatal(err)
			}
			<-waiting
		}
		total += float64(memory()-before) / conns
		for _, p := range pairs {
			_ = p[0].Close()
		}
		wg.Wait()
	}
	b.ReportMetric(total/float64(b.N)/1024, "KiB/conn")
	b.ReportMetric(0, "ns/op")
}

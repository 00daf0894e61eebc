package h2

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"

	"heki/option"
	"heki/transport/internal/h2"
	"heki/transport/internal/http1"
	"heki/transport/internal/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newServer(t testing.TB, o option.Transport) *Server {
	t.Helper()
	s, err := New(&o, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The plain form of sing-box's client without TLS.
func TestHTTP1(t *testing.T) {
	const head = "PUT /up HTTP/1.1\r\nHost: a.example\r\n"
	o := option.Transport{Path: "/up", Host: option.Listable[string]{"a.example", "b.example"}, Headers: map[string]option.Listable[string]{"X-A": {"b"}}}
	for _, tt := range []struct {
		name, raw string
		method    string
		status    int
	}{
		{"put", head + "\r\n", "", 200},
		{"longer path", strings.Replace(head, "/up", "/up/any?thing", 1) + "\r\n", "", 200},
		{"second host", strings.Replace(head, "a.ex", "B.ex", 1) + "\r\n", "", 200},
		{"body", head + "Content-Length: 5\r\n\r\n", "", 200},
		{"method", strings.Replace(head, "PUT", "GET", 1) + "\r\n", "GET", 200},
		{"other method", head + "\r\n", "POST", 405},
		{"browser", strings.Replace(head, "PUT", "GET", 1) + "\r\n", "", 404},
		{"other host", strings.Replace(head, "a.ex", "c.ex", 1) + "\r\n", "", 405},
		{"other path", strings.Replace(head, "/up", "/", 1) + "\r\n", "", 405},
		{"chunked", head + "Transfer-Encoding: chunked\r\n\r\n", "", 405},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o.Method = tt.method
			run := transporttest.Echo(t, newServer(t, o))
			_, _ = io.WriteString(run.Client, tt.raw+"first bytes")
			r := bufio.NewReader(run.Client)
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != tt.status {
				t.Fatalf("%v, %v, want %d", resp, err, tt.status)
			}
			if tt.status != 200 {
				_ = run.Client.Close()
				if err := <-run.Result; !errors.Is(err, http1.ErrRefused) {
					t.Errorf("err = %v", err)
				}
				return
			}
			got := make([]byte, len("first bytes"))
			if _, err := io.ReadFull(r, got); string(got) != "first bytes" {
				t.Errorf("%q, %v", got, err)
			}
			if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-A") != "b" {
				t.Errorf("header = %v", resp.Header)
			}
			_ = run.Client.Close()
			if err := <-run.Result; err != nil {
				t.Errorf("err = %v", err)
			}
		})
	}
}

// A client that closes unread what it got resets the connection, and loses what it has sent.
func TestHTTP1HeadWaits(t *testing.T) {
	client, server := transporttest.Pair(t)
	result := make(chan error, 1)
	go func() {
		result <- newServer(t, option.Transport{Path: "/up"}).Serve(t.Context(), server, func(_ context.Context, c net.Conn, _ netip.AddrPort) {
			if all, err := io.ReadAll(c); string(all) != "upload" || err != nil {
				t.Errorf("%q, %v", all, err)
			}
			_ = c.Close()
		})
	}()
	_, _ = io.WriteString(client, "PUT /up HTTP/1.1\r\nHost: a\r\n\r\nupload")
	_ = client.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(client); len(got) > 0 || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestMatch(t *testing.T) {
	s := newServer(t, option.Transport{Path: "/up", Host: option.Listable[string]{"a.example"}})
	for _, tt := range []struct {
		m      h2.Message
		status int
	}{
		{h2.Message{Method: "PUT", Path: "/up", Authority: "a.example:443"}, 0},
		{h2.Message{Method: "GET", Path: "/up/x?y", Authority: "a.example"}, 0},
		{h2.Message{Method: "GET", Path: "/up", Authority: "a.example", End: true}, 404},
		{h2.Message{Method: "POST", Path: "/up", Authority: "a.example", Fields: []h2.Field{{Name: "content-length", Value: "3"}}}, 404},
		{h2.Message{Method: "PUT", Path: "/", Authority: "a.example"}, 405},
		{h2.Message{Method: "POST", Path: "/up", Authority: "b.example"}, 404},
	} {
		if got := s.match(&tt.m); got != tt.status {
			t.Errorf("%+v: %d, want %d", tt.m, got, tt.status)
		}
	}
}

// sing-box's client with TLS is net/http's client with a pipe as body.
func TestTheirClient(t *testing.T) {
	run := transporttest.Echo(t, newServer(t, option.Transport{Path: "/x", Headers: map[string]option.Listable[string]{"X-A": {"b"}, "Server": {"caddy"}}}))
	transport := &http2.Transport{AllowHTTP: true, DialTLSContext: func(context.Context, string, string, *tls.Config) (net.Conn, error) {
		return run.Client, nil
	}}
	r, w := io.Pipe()
	req, err := http.NewRequest("PUT", "http://any.example/x", r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", "192.0.2.5, 192.0.2.6")
	resp, err := transport.RoundTrip(req)
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-A") != "b" || resp.Header.Get("Server") != "caddy" {
		t.Fatal(resp, err)
	}
	if from := <-run.Source; from.String() != "192.0.2.5:0" {
		t.Errorf("source = %s", from)
	}
	go func() {
		_, _ = io.WriteString(w, "hello")
		_ = w.Close()
	}()
	if all, err := io.ReadAll(resp.Body); string(all) != "hello" || err != nil {
		t.Errorf("%q, %v", all, err)
	}
	_ = run.Client.Close()
	if err := <-run.Result; err != nil {
		t.Errorf("err = %v", err)
	}
}

func TestDial(t *testing.T) {
	o := option.Transport{Path: "/ü x", Host: option.Listable[string]{"a.example"}, Method: "POST", Headers: map[string]option.Listable[string]{"X-Real-IP": {"192.0.2.7"}}}
	run := transporttest.Echo(t, newServer(t, o))
	d, err := NewDialer(&o, "b", false, func(context.Context) (net.Conn, error) { return run.Client, nil })
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	transporttest.Echoes(t, c, 1<<20)
	if from := <-run.Source; from.String() != "192.0.2.7:0" {
		t.Errorf("source = %s", from)
	}
	_ = c.Close()
	o.Path = "/other"
	_ = d.Close()
	<-run.Result
}

func TestDialRefused(t *testing.T) {
	run := transporttest.Echo(t, newServer(t, option.Transport{Path: "/x"}))
	d, err := NewDialer(&option.Transport{Path: "/y"}, "b", true, func(context.Context) (net.Conn, error) { return run.Client, nil })
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, h2.ErrNoStream) {
		t.Errorf("err = %v", err)
	}
	_ = c.Close()
	_ = d.Close()
	<-run.Result
}

func TestGarbage(t *testing.T) {
	s := newServer(t, option.Transport{Path: "/up"})
	transporttest.Garbage(t, s, []byte("PUT /up HTTP/1.1\r\nHost: a\r\n\r\npayload"), transporttest.IsHTTP1)
}

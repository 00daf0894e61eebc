package grpc

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"

	"heki/internal/netio"
	"heki/option"
	"heki/transport/internal/h2"
	"heki/transport/internal/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newServer(t testing.TB, service string) *Server {
	t.Helper()
	s, err := New(&option.Transport{ServiceName: service}, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// browser returns net/http's client of HTTP/2 on one connection to s.
func browser(t testing.TB, s *Server) (*http.Client, *transporttest.Run) {
	t.Helper()
	run := transporttest.Echo(t, s)
	transport := &http2.Transport{AllowHTTP: true, DisableCompression: true, DialTLSContext: func(context.Context, string, string, *tls.Config) (net.Conn, error) {
		return run.Client, nil
	}}
	return &http.Client{Transport: transport}, run
}

func TestPaths(t *testing.T) {
	for _, tt := range []struct{ service, asked string }{
		{"", "/GunService/Tun"},
		{"", "/GunService/TunMulti"},
		{"gun", "/gun/Tun"},
		{"a/b", "/a%2Fb/Tun"}, // Xray
		{"a/b", "/a/b/Tun"},   // sing-box
		{"a b", "/a%20b/TunMulti"},
		{"ü", "/%C3%BC/Tun"},
		{"100%", "/100%25/Tun"},
		{"/a/b|c", "/a/b"},
		{"/a/b|c", "/a/c"},
		{"/my/sample/path1|path2", "/my/sample/path2"},
		{"/my/sample/path1", "/my/sample/path1"},
		{"/my a/x y|z", "/my%20a/x%20y"},
		{"/a", "//a"},
	} {
		s := newServer(t, tt.service)
		m := &h2.Message{Method: "POST", Path: tt.asked, Fields: []h2.Field{{Name: "content-type", Value: "application/grpc+proto"}}}
		if status := s.match(m); status != 0 {
			t.Errorf("%q, %q: %d", tt.service, tt.asked, status)
		}
		for _, other := range []string{"/", tt.asked + "x", strings.ToUpper(tt.asked) + "/", "/Tun"} {
			if m.Path = other; s.match(m) != 404 {
				t.Errorf("%q: %q is taken", tt.service, other)
			}
		}
		d, err := NewDialer(&option.Transport{ServiceName: tt.service}, "a", false, nil)
		if err != nil || len(d.head) == 0 {
			t.Errorf("%q: %v", tt.service, err)
		}
	}
}

func TestDial(t *testing.T) {
	for _, service := range []string{"", "/a b/ü|x", "x/y"} {
		s := newServer(t, service)
		var runs []*transporttest.Run
		d, err := NewDialer(&option.Transport{ServiceName: service}, "a.example", false, func(context.Context) (net.Conn, error) {
			runs = append(runs, transporttest.Echo(t, s))
			return runs[len(runs)-1].Client, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, n := range []int{0, 1, 100, 33_000, 4 << 20} {
			wg.Go(func() {
				c, err := d.DialContext(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				transporttest.Echoes(t, c, n)
				_ = c.Close()
			})
		}
		wg.Wait()
		_ = d.Close()
		if len(runs) != 1 {
			t.Errorf("%d connections", len(runs))
		}
		if err := <-runs[0].Result; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
}

func TestDialRefused(t *testing.T) {
	run := transporttest.Echo(t, newServer(t, "x"))
	d, err := NewDialer(&option.Transport{ServiceName: "y"}, "a", false, func(context.Context) (net.Conn, error) { return run.Client, nil })
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

// call makes a call as sing-box's lite client does.
func call(t *testing.T, client *http.Client, path string, body io.Reader, headers ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequest("POST", "http://a.example"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// A client of Xray in multi mode, as net/http sees the answer: trailers, and the end only after the
// client has had its say.
func TestMultiAndTrailers(t *testing.T) {
	client, run := browser(t, newServer(t, "x"))
	r, w := io.Pipe()
	resp := call(t, client, "/x/TunMulti", r, "X-Real-IP", "192.0.2.9")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/grpc" {
		t.Fatal(resp.Status, resp.Header)
	}
	if from := <-run.Source; from.String() != "192.0.2.9:0" {
		t.Errorf("source = %s", from)
	}
	go func() {
		_, _ = io.WriteString(w, message(hunk("ab"), hunk(""), hunk("c"))+message())
		_, _ = io.WriteString(w, message(hunk("d")))
		_ = w.Close()
	}()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	got, partial, err := decodeAll(all, 0)
	if string(got) != "abcd" || partial || err != nil {
		t.Errorf("%q, %v, %v", got, partial, err)
	}
	if resp.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("trailers = %v", resp.Trailer)
	}
	_ = run.Client.Close()
	<-run.Result
}

// The server finishes first: what the client goes on sending still arrives.
func TestServerEndsFirst(t *testing.T) {
	client, server := transporttest.Pair(t)
	s := newServer(t, "x")
	got := make(chan string, 1)
	result := make(chan error, 1)
	go func() {
		result <- s.Serve(context.Background(), server, func(_ context.Context, c net.Conn, _ netip.AddrPort) {
			_ = c.SetDeadline(time.Time{})
			_, _ = io.WriteString(c, "bye")
			_ = netio.CloseWrite(c)
			all, _ := io.ReadAll(c)
			got <- string(all)
			_ = c.Close()
		})
	}()
	d, err := NewDialer(&option.Transport{ServiceName: "x"}, "a", false, func(context.Context) (net.Conn, error) { return client, nil })
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 3)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	want := ""
	for range 5 {
		_, _ = io.WriteString(c, "more")
		want += "more"
	}
	if _, err := c.Read(b); err != io.EOF {
		t.Errorf("end: %v", err)
	}
	_ = netio.CloseWrite(c)
	if all := <-got; all != want {
		t.Errorf("got %q", all)
	}
	_ = c.Close()
	_ = d.Close()
	<-result
}

func TestPages(t *testing.T) {
	client, run := browser(t, newServer(t, "x"))
	for _, tt := range []struct{ path, contentType string }{{"/x/Tun", "text/plain"}, {"/y/Tun", "application/grpc"}} {
		resp := call(t, client, tt.path, strings.NewReader("x"), "Content-Type", tt.contentType)
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 404 || !strings.Contains(string(body), "<center>nginx</center>") {
			t.Errorf("%+v: %s, %q", tt, resp.Status, body)
		}
	}
	_ = run.Client.Close()
	<-run.Result
	// A browser that speaks HTTP/1.
	run = transporttest.Echo(t, newServer(t, "x"))
	_, _ = io.WriteString(run.Client, "GET /x/Tun HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if all, err := io.ReadAll(run.Client); err != nil || !bytes.HasPrefix(all, []byte("HTTP/1.1 404 Not Found\r\nServer: nginx\r\n")) {
		t.Errorf("%q, %v", all, err)
	}
	<-run.Result
}

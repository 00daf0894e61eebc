package h2

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"heki/transport/internal/transporttest"
)

// Streams of net/http's client.
func TestTheirClient(t *testing.T) {
	client, conn, result := browser(t, tunnel(), echo)
	transporttest.Echoes(t, openWith(t, client, "http://a.example/in"), 0)
	var wg sync.WaitGroup
	for _, n := range []int{1, 1000, 40_000, 8 << 20, 100, 200_000, 3_000_000} {
		wg.Go(func() { transporttest.Echoes(t, openWith(t, client, "http://a.example/in"), n) })
	}
	wg.Wait()
	_ = conn.Close()
	if err := <-result; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// Streams to net/http's server.
func TestTheirServer(t *testing.T) {
	srv := &http2.Server{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/in" || r.Host != "a.example" {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		b := make([]byte, 50_000)
		for {
			n, err := r.Body.Read(b)
			if _, werr := w.Write(b[:n]); err != nil || werr != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
		}
	})
	var done sync.WaitGroup
	k := NewClient(ClientOptions{Dial: func(context.Context) (net.Conn, error) {
		a, b := transporttest.Pair(t)
		done.Go(func() { srv.ServeConn(b, &http2.ServeConnOpts{Handler: handler}) })
		return a, nil
	}})
	var wg sync.WaitGroup
	for _, n := range []int{0, 1, 1000, 40_000, 8 << 20, 100, 200_000, 3_000_000} {
		wg.Go(func() {
			s, err := k.Open(t.Context(), put(), ok)
			if err != nil {
				t.Error(err)
				return
			}
			transporttest.Echoes(t, s, n)
			_ = s.Close()
		})
	}
	wg.Wait()
	_ = k.Close()
	done.Wait()
}

// Streams between our two sides: all on one connection.
func TestOurs(t *testing.T) {
	k, dials := dialer(t, tunnel(), echo)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			s, err := k.Open(t.Context(), put(), ok)
			if err != nil {
				t.Error(err)
				return
			}
			transporttest.Echoes(t, s, i*i*1000)
			_ = s.Close()
		})
	}
	wg.Wait()
	if *dials != 1 {
		t.Errorf("%d connections", *dials)
	}
}

func TestPages(t *testing.T) {
	client, conn, result := browser(t, tunnel(), func(context.Context, *Stream, *Message) { panic("a stream") })
	for _, tt := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/%2e%2e/x", "", 400},
		{"POST", "/in", strings.Repeat("x", 1<<20+1), 413},
		{"GET", "/", "", 404},
		{"GET", "/in", "", 404},
		{"HEAD", "/", "", 404},
		{"POST", "/", "a=b", 404},
		{"POST", "/big", strings.Repeat("x", 1<<20), 404},
	} {
		req, err := http.NewRequest(tt.method, "http://a.example"+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("User-Agent", "curl/8")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s %s: %v", tt.method, tt.path, err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != tt.status || resp.ContentLength != map[int]int64{400: 150, 404: 146, 413: 176}[tt.status] ||
			resp.Header.Get("Server") != "nginx" || resp.Header.Get("Content-Type") != "text/html" || len(resp.Header) != 4 {
			t.Errorf("%s %s: %v, %v, %v", tt.method, tt.path, resp.Status, resp.Header, err)
		}
		if want := tt.method != "HEAD"; strings.Contains(string(body), "<center>nginx</center>") != want {
			t.Errorf("%s %s: body %q", tt.method, tt.path, body)
		}
	}
	_ = conn.Close()
	if err := <-result; err == nil || !strings.Contains(err.Error(), ErrRefused.Error()) {
		t.Errorf("Serve: %v", err)
	}
}

package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestSecureLookup(t *testing.T) {
	for _, scheme := range schemes() {
		t.Run(scheme, func(t *testing.T) {
			secure, roots := authority(t, "127.0.0.1")
			server := secureServer(t, scheme, secure, zone(t,
				"www.example. 30 IN CNAME a.example.", "a.example. 120 IN A 192.0.2.1", "a.example. 60 IN AAAA 2001:db8::1"))
			s := secureClient(t, scheme, server, roots)
			for _, tt := range []struct {
				name     string
				ipv6     bool
				want     string
				notFound bool
			}{
				{"a.example", false, "192.0.2.1", false},
				{"a.example", true, "2001:db8::1", false},
				{"www.example", false, "192.0.2.1", false},
				{"no.example", false, "", true},
			} {
				a, err := s.Lookup(t.Context(), tt.name, tt.ipv6)
				if err != nil || a.NotFound != tt.notFound || tt.want != "" && !slices.Equal(a.Addrs, []netip.Addr{netip.MustParseAddr(tt.want)}) {
					t.Errorf("%s ipv6 %v = %+v, %v", tt.name, tt.ipv6, a, err)
				}
			}
			if n := server.conns.Load(); n != 1 {
				t.Errorf("%d connections for one query after the other, want 1", n)
			}
			server.hangUp() // the server may end a connection at any time
			if _, err := s.Lookup(t.Context(), "a.example", false); err != nil {
				t.Errorf("after the server hung up: %v", err)
			}
			if n := server.conns.Load(); n != 2 {
				t.Errorf("%d connections after the server hung up, want 2", n)
			}
		})
	}
}

// TestSecureTogether: many queries at once share what they can, and all are answered.
func TestSecureTogether(t *testing.T) {
	for _, scheme := range schemes() {
		t.Run(scheme, func(t *testing.T) {
			secure, roots := authority(t, "127.0.0.1")
			server := secureServer(t, scheme, secure, zone(t, "a.example. 120 IN A 192.0.2.1"))
			s := secureClient(t, scheme, server, roots)
			var wg sync.WaitGroup
			for range 40 {
				wg.Go(func() {
					if a, err := s.Lookup(t.Context(), "a.example", false); err != nil || len(a.Addrs) != 1 {
						t.Errorf("got %+v, %v", a, err)
					}
				})
			}
			wg.Wait()
			if n := server.conns.Load(); scheme == "quic" && n != 1 || scheme == "h3" && n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
		})
	}
}

// TestCertificates: the name, or the address, that is written must be in the certificate.
func TestCertificates(t *testing.T) {
	for _, scheme := range schemes() {
		t.Run(scheme, func(t *testing.T) {
			secure, roots := authority(t, "dns.example")
			server := secureServer(t, scheme, secure, zone(t, "a.example. 120 IN A 192.0.2.1"))
			var asked atomic.Int32
			find := func(_ context.Context, host string) ([]netip.Addr, error) {
				asked.Add(1)
				if !strings.HasSuffix(host, "dns.example") {
					return nil, errors.New("no such host")
				}
				return []netip.Addr{server.at.Addr()}, nil
			}
			port := server.at.String()[strings.LastIndexByte(server.at.String(), ':'):]
			for _, tt := range []struct {
				host  string
				roots *x509.CertPool
				ok    bool
			}{
				{"dns.example", roots, true},
				{"other.dns.example", roots, false},
				{"127.0.0.1", roots, false},
				{"dns.example", x509.NewCertPool(), false},
				{"gone.example", roots, false},
			} {
				s, err := build(scheme+"://"+tt.host+port, find, tt.roots)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Lookup(t.Context(), "a.example", false); (err == nil) != tt.ok {
					t.Errorf("%s: err = %v, want none: %v", tt.host, err, tt.ok)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			if asked.Load() == 0 {
				t.Error("nobody looked for the server")
			}
		})
	}
}

// TestSecureSilence: a server that takes queries and says nothing.
func TestSecureSilence(t *testing.T) {
	for _, scheme := range schemes() {
		t.Run(scheme, func(t *testing.T) {
			secure, roots := authority(t, "127.0.0.1")
			asked := make(chan struct{}, 8)
			server := secureServer(t, scheme, secure, func(dns.ResponseWriter, *dns.Msg) { asked <- struct{}{} })
			s := secureClient(t, scheme, server, roots)
			ctx, cancel := context.WithCancelCause(t.Context())
			reason := errors.New("enough")
			done := make(chan error, 1)
			go func() {
				_, err := s.Lookup(ctx, "a.example", false)
				done <- err
			}()
			<-asked
			cancel(reason)
			if err := <-done; !errors.Is(err, reason) {
				t.Errorf("err = %v, want the reason", err)
			}
		})
	}
}

// TestSecureForgeries: what does not fit the question is an error, for nobody else could have sent it.
func TestSecureForgeries(t *testing.T) {
	changes := map[string]func(*dns.Msg){
		"id":       func(m *dns.Msg) { m.Id++ },
		"a query":  func(m *dns.Msg) { m.Response = false },
		"question": func(m *dns.Msg) { m.Question[0].Name = "other.example." },
		"type":     func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT },
	}
	for _, scheme := range schemes() {
		secure, roots := authority(t, "127.0.0.1")
		var change atomic.Value
		server := secureServer(t, scheme, secure, func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg)
			m.SetReply(q)
			m.Answer = []dns.RR{record(t, q.Question[0].Name+" 60 IN A 203.0.113.66")}
			change.Load().(func(*dns.Msg))(m)
			_ = w.WriteMsg(m)
		})
		s := secureClient(t, scheme, server, roots)
		for name, f := range changes {
			change.Store(f)
			if a, err := s.Lookup(t.Context(), "a.example", false); !errors.Is(err, errMismatch) {
				t.Errorf("%s with another %s: %+v, %v", scheme, name, a, err)
			}
		}
	}
}

// TestHTTPAnswers: errors of web servers say what they are, and the connection lives on.
func TestHTTPAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		handle     http.HandlerFunc
	}{
		{"forbidden", "answered 403 Forbidden", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }},
		{"redirected", "answered 302 Found", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
		}},
		{"a page", `the content type "text/html; charset=utf-8"`, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }},
		{"endless", "more than 65535 bytes", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", messageType)
			for range 100 {
				_, _ = w.Write(make([]byte, 1<<10))
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			secure, roots := authority(t, "127.0.0.1")
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			s := &http.Server{Handler: tt.handle, TLSConfig: secure, ErrorLog: log.New(io.Discard, "", 0)}
			go func() { ended <- s.ServeTLS(l, "", "") }()
			defer func() {
				_ = s.Close()
				<-ended
			}()
			c := secureClient(t, "https", secured{at: l.Addr().(*net.TCPAddr).AddrPort()}, roots)
			if _, err := c.Lookup(t.Context(), "a.example", false); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want %q", err, tt.want)
			}
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, scheme := range schemes() {
		b.Run(scheme, func(b *testing.B) {
			secure, roots := authority(b, "127.0.0.1")
			server := secureServer(b, scheme, secure, zone(b, "a.example. 120 IN A 192.0.2.1"))
			s := secureClient(b, scheme, server, roots)
			for b.Loop() {
				if _, err := s.Lookup(b.Context(), "a.example", false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestSecureIdle: a connection without queries ends by itself, and leaves no socket and no goroutine.
func TestSecureIdle(t *testing.T) {
	for _, scheme := range schemes() {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel() // QUIC's idle time is no shorter than seconds
			secure, roots := authority(t, "127.0.0.1")
			gone := make(chan struct{})
			server := secureServer(t, scheme, secure, zone(t, "a.example. 120 IN A 192.0.2.1"))
			s := secureClient(t, scheme, server, roots)
			const idle = time.Second
			switch s := s.(type) {
			case *tcp:
				s.idle = idle
			case *https:
				s.pool.IdleConnTimeout = idle
			case *doq:
				s.quic.MaxIdleTimeout = idle
			case *h3:
				s.quic.MaxIdleTimeout = idle
			}
			if _, err := s.Lookup(t.Context(), "a.example", false); err != nil {
				t.Fatal(err)
			}
			go func() {
				defer close(gone)
				server.wait() // until the client has left
			}()
			select {
			case <-gone:
			case <-time.After(time.Minute):
				t.Fatal("the connection is still open")
			}
			if _, err := s.Lookup(t.Context(), "a.example", false); err != nil {
				t.Errorf("the next query: %v", err)
			}
			if n := server.conns.Load(); n != 2 {
				t.Errorf("%d connections, want 2", n)
			}
		})
	}
}

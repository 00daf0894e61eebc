package upstream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"math/big"
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
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// authority makes a certificate for names and the pool that believes it.
func authority(t testing.TB, names ...string) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			about.IPAddresses = append(about.IPAddresses, ip)
		} else {
			about.DNSNames = append(about.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, pool
}

// secured is a test server of one scheme.
type secured struct {
	at     netip.AddrPort
	conns  *atomic.Int32 // that began
	hangUp func()        // ends the connections that are open
	wait   func()        // until the first connection has ended
}

// secureServer serves handle by scheme on loopback until the test ends.
func secureServer(t testing.TB, scheme string, secure *tls.Config, handle dns.HandlerFunc) secured {
	t.Helper()
	switch scheme {
	case "tls", "https":
		return streamServer(t, scheme, secure, handle)
	}
	return quicServer(t, scheme, secure, handle)
}

// counted notes the connections that it accepts.
type counted struct {
	net.Listener
	n     atomic.Int32
	ended chan struct{} // the first
	mu    sync.Mutex
	open  []net.Conn
}

func (c *counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		if c.n.Add(1) == 1 {
			conn = &farewell{Conn: conn, ended: c.ended}
		}
		c.mu.Lock()
		c.open = append(c.open, conn)
		c.mu.Unlock()
	}
	return conn, err
}

// farewell tells when it is closed, which servers do once the client has.
type farewell struct {
	net.Conn
	once  sync.Once
	ended chan struct{}
}

func (f *farewell) Close() error {
	f.once.Do(func() { close(f.ended) })
	return f.Conn.Close()
}

func (c *counted) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.open {
		_ = conn.Close()
	}
	c.open = nil
}

func streamServer(t testing.TB, scheme string, secure *tls.Config, handle dns.HandlerFunc) secured {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &counted{Listener: raw, ended: make(chan struct{})}
	wait := func() { <-l.ended }
	at := raw.Addr().(*net.TCPAddr).AddrPort()
	ended := make(chan error, 1)
	if scheme == "tls" {
		secure.NextProtos = []string{"dot"}
		started := make(chan struct{})
		s := &dns.Server{Listener: tls.NewListener(l, secure), Handler: handle, NotifyStartedFunc: func() { close(started) }}
		go func() { ended <- s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			_ = s.Shutdown()
			l.hangUp()
			<-ended
		})
		return secured{at, &l.n, l.hangUp, wait}
	}
	s := &http.Server{Handler: httpHandler(handle), TLSConfig: secure, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { ended <- s.ServeTLS(l, "", "") }()
	t.Cleanup(func() {
		_ = s.Close()
		<-ended
	})
	return secured{at, &l.n, l.hangUp, wait}
}

func quicServer(t testing.TB, scheme string, secure *tls.Config, handle dns.HandlerFunc) secured {
	t.Helper()
	secure.NextProtos = []string{"doq"}
	if scheme == "h3" {
		secure.NextProtos = []string{http3.NextProtoH3}
	}
	l, err := quic.ListenAddr("127.0.0.1:0", secure, nil)
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	var mu sync.Mutex
	var open []*quic.Conn
	first := make(chan *quic.Conn, 1)
	pages := &http3.Server{Handler: httpHandler(handle)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			if n.Add(1) == 1 {
				first <- conn
			}
			mu.Lock()
			open = append(open, conn)
			mu.Unlock()
			wg.Go(func() {
				if scheme == "h3" {
					_ = pages.ServeQUICConn(conn)
					return
				}
				serveDoQ(conn, handle)
			})
		}
	})
	hangUp := func() {
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range open {
			_ = conn.CloseWithError(0, "")
		}
		open = nil
	}
	t.Cleanup(func() {
		hangUp()
		_ = l.Close()
		_ = pages.Close()
		wg.Wait()
	})
	wait := func() { <-(<-first).Context().Done() }
	return secured{l.Addr().(*net.UDPAddr).AddrPort(), &n, hangUp, wait}
}

func serveDoQ(conn *quic.Conn, handle dns.HandlerFunc) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		stream, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		wg.Go(func() {
			all, err := io.ReadAll(stream) // the query must end its side
			q := new(dns.Msg)
			if err != nil || len(all) < 2 || int(binary.BigEndian.Uint16(all)) != len(all)-2 || q.Unpack(all[2:]) != nil || q.Id != 0 {
				stream.CancelWrite(2)
				return
			}
			w := &recorder{}
			handle(w, q)
			if w.out != nil {
				_, _ = stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(w.out))), w.out...))
				_ = stream.Close()
				return
			}
			<-conn.Context().Done() // silent
		})
	}
}

// recorder takes what a handler writes.
type recorder struct {
	dns.ResponseWriter
	out []byte
}

func (r *recorder) WriteMsg(m *dns.Msg) error {
	out, err := m.Pack()
	r.out = out
	return err
}

func (r *recorder) Write(b []byte) (int, error) {
	r.out = slices.Clone(b)
	return len(b), nil
}

// httpHandler answers as RFC 8484 says, and is strict about queries.
func httpHandler(handle dns.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		q := new(dns.Msg)
		switch {
		case r.URL.Path != "/dns-query":
			http.NotFound(w, r)
			return
		case err != nil, r.Method != http.MethodPost, r.Header.Get("Content-Type") != messageType,
			r.Header.Get("User-Agent") != "", q.Unpack(body) != nil, q.Id != 0, r.ProtoMajor < 2:
			http.Error(w, "bad query "+base64.StdEncoding.EncodeToString(body), http.StatusBadRequest)
			return
		}
		rec := &recorder{}
		handle(rec, q)
		if rec.out == nil {
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", messageType)
		_, _ = w.Write(rec.out)
	}
}

// schemes are those that need a certificate.
func schemes() []string { return []string{"tls", "https", "quic", "h3"} }

// secureClient opens the server of scheme at s.
func secureClient(t testing.TB, scheme string, s secured, roots *x509.CertPool) Server {
	t.Helper()
	c, err := build(scheme+"://"+s.at.String(), nil, roots)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

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
			secure, roots := authority(t, "127.0.0.1")
			gone := make(chan struct{})
			server := secureServer(t, scheme, secure, zone(t, "a.example. 120 IN A 192.0.2.1"))
			s := secureClient(t, scheme, server, roots)
			const idle = 100 * time.Millisecond
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

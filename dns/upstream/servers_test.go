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
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"slices"
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
		s := &dns.Server{
			Listener: tls.NewListener(l, secure), Handler: handle, NotifyStartedFunc: func() { close(started) },
			ReadTimeout: time.Minute, WriteTimeout: time.Minute, // of 2 s, handshake included
		}
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
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	transport := &quic.Transport{Conn: socket}
	l, err := transport.Listen(secure, nil)
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
		_ = transport.Close()
		_ = socket.Close()
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

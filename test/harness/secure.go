package harness

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Secure puts TLS 1.3 in front of targets, so that what goes through the server under test is TLS, as
// it is with a browser.
type Secure struct {
	// Up and Down are the bytes that arrived from the server under test and that went there.
	Up, Down atomic.Int64

	cert   *Certificate
	fronts map[string]string // port of a target: address of its front
	wg     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// StartSecure starts a front for each TCP target and stops it with the test.
func StartSecure(t testing.TB, to *Targets) *Secure {
	t.Helper()
	s := &Secure{cert: NewCertificate(t), fronts: make(map[string]string), conns: make(map[net.Conn]struct{})}
	pair, err := tls.X509KeyPair([]byte(s.cert.CertPEM), []byte(s.cert.KeyPEM))
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	var listeners []net.Listener
	for _, target := range []string{to.TCP, to.Banner} {
		l, err := net.Listen("tcp", Loopback+":0")
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
		s.fronts[portText(target)] = l.Addr().String()
		s.wg.Go(func() { s.accept(l, target, config) })
	}
	t.Cleanup(func() {
		for _, l := range listeners {
			l.Close()
		}
		s.mu.Lock()
		for c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

func portText(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

func (s *Secure) accept(l net.Listener, target string, config *tls.Config) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() {
			s.serve(conn, target, config)
			conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

// serve joins a TLS connection with the target. Each end is passed on, that of the connection itself
// once there are both.
func (s *Secure) serve(conn net.Conn, target string, config *tls.Config) {
	counted := &counter{Conn: conn, read: &s.Up, written: &s.Down}
	secure := tls.Server(counted, config)
	remote, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer remote.Close()
	if err := secure.Handshake(); err != nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		io.Copy(remote, secure)
		remote.(*net.TCPConn).CloseWrite()
	})
	io.Copy(secure, remote)
	secure.CloseWrite()
	wg.Wait()
	conn.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, counted)
}

// counter counts the bytes of a connection.
type counter struct {
	net.Conn
	read, written *atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// Way is w with TLS inside: a destination that is a target's is reached through its front.
func (s *Secure) Way(w Way) Way { return secureWay{s, w} }

type secureWay struct {
	s     *Secure
	outer Way
}

// Dial implements Way.
func (w secureWay) Dial(ctx context.Context, destination string) (Duplex, error) {
	host, port, err := net.SplitHostPort(destination)
	if err != nil {
		return nil, err
	}
	conn, err := w.outer.Dial(ctx, net.JoinHostPort(host, portText(w.s.fronts[port])))
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, &tls.Config{RootCAs: w.s.cert.Pool, ServerName: ServerName})
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

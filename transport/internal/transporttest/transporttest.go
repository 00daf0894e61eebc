// Package transporttest has what the tests of several transports share.
package transporttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"heki/internal/netio"
)

// Server is transport.Server.
type Server interface {
	Serve(ctx context.Context, conn net.Conn, handle func(ctx context.Context, conn net.Conn, source netip.AddrPort)) error
}

// Pair returns the two ends of a TCP connection, which end with the test.
func Pair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}

// Run is one connection that a server serves.
type Run struct {
	Client net.Conn
	Source chan netip.AddrPort // of each stream
	Result chan error          // what Serve returned
}

// Echo serves one connection with a handler that clears the deadline and returns what it gets, until
// EOF, which it passes on.
func Echo(t testing.TB, s Server) *Run {
	t.Helper()
	client, server := Pair(t)
	r := &Run{Client: client, Source: make(chan netip.AddrPort, 1000), Result: make(chan error, 1)}
	_ = server.SetDeadline(time.Now().Add(30 * time.Second))
	go func() {
		r.Result <- s.Serve(context.Background(), server, func(_ context.Context, c net.Conn, from netip.AddrPort) {
			r.Source <- from
			Mirror(c)
		})
	}()
	return r
}

// Mirror returns what comes over c until EOF, and closes it.
func Mirror(c net.Conn) {
	_ = c.SetDeadline(time.Time{})
	nc := netio.NewConn(c)
	relay := netio.Relay{}
	a, b := loop()
	_ = relay.Run(nc, a)
	_ = b.Close()
}

// loop returns a connection that gives back what is written to it.
func loop() (net.Conn, net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer func() { _ = l.Close() }()
	a, err1 := net.Dial("tcp", l.Addr().String())
	b, err2 := l.Accept()
	if err := errors.Join(err1, err2); err != nil {
		panic(err)
	}
	go func() {
		_, _ = io.Copy(struct{ io.Writer }{b}, struct{ io.Reader }{b})
		_ = netio.CloseWrite(b)
	}()
	return a, b
}

// Echoes sends n random bytes over c in pieces of random size, ends its side, and wants the same bytes
// and EOF back.
func Echoes(t testing.TB, c net.Conn, n int) {
	t.Helper()
	data := make([]byte, n)
	fill(data)
	var wg sync.WaitGroup
	wg.Go(func() {
		for rest := data; len(rest) > 0; {
			m, err := c.Write(rest[:min(len(rest), 1+rand.N(100_000))])
			if err != nil {
				t.Errorf("write: %v", err)
				return
			}
			rest = rest[m:]
		}
		if err := netio.CloseWrite(c); err != nil {
			t.Errorf("close write: %v", err)
		}
	})
	sum, want := sha256.New(), sha256.Sum256(data)
	got, err := io.Copy(sum, struct{ io.Reader }{c})
	wg.Wait()
	if err != nil || got != int64(n) || !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Errorf("%d of %d bytes came back, the same: %v, %v", got, n, bytes.Equal(sum.Sum(nil), want[:]), err)
	}
}

func fill(b []byte) {
	for i := 0; i+8 <= len(b); i += 8 {
		v := rand.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
}

// Garbage serves 10 000 first flights: parts of valid, valid with a few bytes changed, and noise. Each
// must leave the connection closed, and look accepts what is answered.
func Garbage(t *testing.T, s Server, valid []byte, look func(answer []byte) bool) {
	t.Helper()
	for i := range 10_000 {
		flight := slices.Clone(valid[:1+rand.IntN(len(valid))])
		switch i % 3 {
		case 1:
			flight = slices.Clone(valid)
			for range 1 + rand.IntN(5) {
				flight[rand.IntN(len(flight))] = byte(rand.Uint32())
			}
		case 2:
			for j := range flight {
				flight[j] = byte(rand.Uint32())
			}
		}
		c := NewScript(flight)
		Discard(s, c)
		if !c.Closed() {
			t.Fatalf("left open after %q", flight)
		}
		if out := c.Out(); len(out) > 0 && !look(out) {
			t.Fatalf("%q\nanswered with %q", flight, out)
		}
	}
}

// IsHTTP1 is Garbage's look for servers of HTTP/1: an answer, or the page for a line that is HTTP/0.9.
func IsHTTP1(answer []byte) bool {
	return bytes.HasPrefix(answer, []byte("HTTP/1.1 ")) || bytes.HasPrefix(answer, []byte("<html>\r\n"))
}

// Discard serves c with a handler that reads until the end and closes.
func Discard(s Server, c net.Conn) {
	_ = s.Serve(context.Background(), c, func(_ context.Context, c net.Conn, _ netip.AddrPort) {
		_, _ = io.Copy(io.Discard, struct{ io.Reader }{c})
		_ = c.Close()
	})
}

// Script is a client that has sent everything and closed.
type Script struct {
	in     *bytes.Reader
	mu     sync.Mutex
	out    bytes.Buffer
	closed bool
}

// NewScript returns a client that has sent in.
func NewScript(in []byte) *Script { return &Script{in: bytes.NewReader(in)} }

// Out returns what was written to the client.
func (s *Script) Out() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.out.Bytes())
}

// Closed says whether the connection was closed.
func (s *Script) Closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Read implements net.Conn.
func (s *Script) Read(p []byte) (int, error) { return s.in.Read(p) }

// Write implements net.Conn.
func (s *Script) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	return s.out.Write(p)
}

// Close implements net.Conn.
func (s *Script) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// SetDeadline implements net.Conn.
func (s *Script) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (s *Script) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (s *Script) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr implements net.Conn.
func (s *Script) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 443} }

// RemoteAddr implements net.Conn.
func (s *Script) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

// Package wiretest has the connections that codec tests run on.
package wiretest

import (
	"bufio"
	"encoding/hex"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Fake is a connection that reads from In and records every write. Its deadlines do nothing.
type Fake struct {
	*bufio.Reader

	mu         sync.Mutex
	writes     []string
	closed     bool
	halfClosed bool
	discard    bool
	err        error
}

// New returns a Fake that reads in.
func New(in io.Reader) *Fake { return &Fake{Reader: bufio.NewReader(in)} }

// NewDiscard is New for benchmarks: writes are not recorded.
func NewDiscard(in io.Reader) *Fake { return &Fake{Reader: bufio.NewReader(in), discard: true} }

// FailWrites makes every further write return err.
func (f *Fake) FailWrites(err error) {
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
}

// Writes returns what each Write got.
func (f *Fake) Writes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.writes...)
}

// Closed reports whether Close was called.
func (f *Fake) Closed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// HalfClosed reports whether CloseWrite was called.
func (f *Fake) HalfClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.halfClosed
}

// Write implements io.Writer.
func (f *Fake) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return 0, f.err
	}
	if !f.discard {
		f.writes = append(f.writes, string(p))
	}
	return len(p), nil
}

// Close implements io.Closer.
func (f *Fake) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	return nil
}

// CloseWrite implements the half-close.
func (f *Fake) CloseWrite() error {
	f.mu.Lock()
	f.halfClosed = true
	f.mu.Unlock()
	return nil
}

// LocalAddr returns a fixed address.
func (f *Fake) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// RemoteAddr returns a fixed address.
func (f *Fake) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }

// SetDeadline does nothing.
func (f *Fake) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (f *Fake) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (f *Fake) SetWriteDeadline(time.Time) error { return nil }

// Peeker makes any connection look ahead with a buffer of 4 KiB.
type Peeker struct {
	net.Conn
	r *bufio.Reader
}

// NewPeeker wraps conn.
func NewPeeker(conn net.Conn) *Peeker { return &Peeker{conn, bufio.NewReader(conn)} }

// Read implements io.Reader.
func (p *Peeker) Read(b []byte) (int, error) { return p.r.Read(b) }

// Peek implements wire.Source.
func (p *Peeker) Peek(n int) ([]byte, error) { return p.r.Peek(n) }

// Discard implements wire.Source.
func (p *Peeker) Discard(n int) (int, error) { return p.r.Discard(n) }

// Deep is a Peeker of 32 KiB that shows what it holds, as netio.Conn does.
type Deep struct{ Peeker }

// NewDeep wraps conn.
func NewDeep(conn net.Conn) *Deep {
	return &Deep{Peeker{conn, bufio.NewReaderSize(conn, 32<<10)}}
}

// Buffered returns the unread bytes.
func (d *Deep) Buffered() []byte {
	b, _ := d.r.Peek(d.r.Buffered())
	return b
}

// Cycle reads the same bytes again and again.
type Cycle struct {
	B  []byte
	at int
}

// Read implements io.Reader.
func (c *Cycle) Read(p []byte) (int, error) {
	n := copy(p, c.B[c.at:])
	c.at = (c.at + n) % len(c.B)
	return n, nil
}

// Vector returns what another implementation sends, from internal/protocol/testdata/vectors.txt. It is
// for tests of the packages beside that folder.
func Vector(t testing.TB, pkg, name string) string {
	t.Helper()
	all, err := os.ReadFile(filepath.Join("..", "testdata", "vectors.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(all)) {
		text, ok := strings.CutPrefix(strings.TrimSpace(line), pkg+" "+name+" ")
		if !ok {
			continue
		}
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	t.Fatalf("no vector %s %s", pkg, name)
	return ""
}

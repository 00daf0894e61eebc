package wire

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"
)

// prefaceCopy is the most payload in bytes that is copied to send a header along with it.
const prefaceCopy = 16 << 10

var (
	_ Conn             = (*Preface)(nil)
	_ N.ExtendedWriter = (*Preface)(nil)
	_ N.EarlyWriter    = (*Preface)(nil)
)

// Preface is a connection whose header goes out with the first write, in one write; from then on the
// writer is replaceable by the inner connection. The reader always is. It must not be copied once used.
type Preface struct {
	Conn
	size  int // of header
	front int // headroom of the inner connection

	mu     sync.Mutex  // held while the header goes out
	header []byte      // nil once it is out
	sent   atomic.Bool // the header is out
}

// Begin makes p write header before anything else on conn. It keeps header.
func (p *Preface) Begin(conn Conn, header []byte) {
	p.Conn, p.header, p.size, p.front = conn, header, len(header), N.CalculateFrontHeadroom(conn)
}

// Flush sends the header alone, unless it is out already.
func (p *Preface) Flush() error {
	_, _, err := p.writeFirst(nil)
	return err
}

// Write implements io.Writer.
func (p *Preface) Write(b []byte) (int, error) {
	if p.sent.Load() {
		return p.Conn.Write(b)
	}
	n, first, err := p.writeFirst(b)
	if !first {
		return p.Conn.Write(b)
	}
	if err != nil || n == len(b) {
		return n, err
	}
	m, err := p.Conn.Write(b[n:])
	return n + m, err
}

// writeFirst sends the header with the start of payload, unless it is out already, and returns how
// much of payload went.
func (p *Preface) writeFirst(payload []byte) (n int, first bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sent.Load() {
		return 0, false, nil
	}
	defer p.markLocked() // on error too: the stream is broken then, a second header mends nothing
	n = min(len(payload), prefaceCopy)
	b := buf.NewSize(p.front + len(p.header) + n)
	b.Resize(p.front, 0)
	_, _ = b.Write(p.header)
	_, _ = b.Write(payload[:n])
	if err := WriteBuffer(p.Conn, b, p.front); err != nil {
		return 0, true, err
	}
	return n, true, nil
}

func (p *Preface) markLocked() {
	p.header = nil
	p.sent.Store(true)
}

// WriteBuffer implements N.ExtendedWriter. It owns b.
func (p *Preface) WriteBuffer(b *buf.Buffer) error {
	if p.sent.Load() {
		return WriteBuffer(p.Conn, b, p.front)
	}
	if b.Start() < p.size {
		_, err := p.Write(b.Bytes())
		b.Release()
		return err
	}
	p.mu.Lock()
	if p.sent.Load() {
		p.mu.Unlock()
		return WriteBuffer(p.Conn, b, p.front)
	}
	defer p.mu.Unlock()
	defer p.markLocked()
	copy(b.ExtendHeader(p.size), p.header)
	return WriteBuffer(p.Conn, b, p.front)
}

// CloseWrite ends the writing side, after the header when nothing was written yet. The error is
// errors.ErrUnsupported when the inner connection has no half-close.
func (p *Preface) CloseWrite() error {
	if !p.sent.Load() {
		if err := p.Flush(); err != nil {
			return err
		}
	}
	if w, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// FrontHeadroom asks for the room of the header while it is not out.
func (p *Preface) FrontHeadroom() int {
	if p.sent.Load() {
		return 0
	}
	return p.size
}

// NeedHandshakeForWrite tells sing's copy loop to look again after the first write.
func (p *Preface) NeedHandshakeForWrite() bool { return !p.sent.Load() }

// WriterReplaceable reports whether writes may go to the inner connection: once the header is out.
func (p *Preface) WriterReplaceable() bool { return p.sent.Load() }

// ReaderReplaceable reports that reads may go to the inner connection.
func (p *Preface) ReaderReplaceable() bool { return true }

// Upstream returns the inner connection.
func (p *Preface) Upstream() any { return p.Conn }

package netio

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"
)

// ErrPeekTooLong is returned by Peek for more than a buffer holds.
var ErrPeekTooLong = errors.New("peek longer than a buffer")

// Conn is a connection that can look ahead. It holds a pooled buffer only while there are unread
// bytes in it. Reading methods are for one goroutine at a time.
//
// It is a ReadWaiter, and replaceable as a writer: what is written goes straight to the inner one.
type Conn struct {
	net.Conn
	waiter N.ReadWaiter
	head   *buf.Buffer // unread bytes; nil when there are none
}

// NewConn wraps c, or returns c when it is a *Conn already.
func NewConn(c net.Conn) *Conn {
	if nc, ok := c.(*Conn); ok {
		return nc
	}
	return &Conn{Conn: c, waiter: NewWaiter(c)}
}

// Buffered returns the unread bytes without reading more. They are valid until the next read.
func (c *Conn) Buffered() []byte {
	if c.head == nil {
		return nil
	}
	return c.head.Bytes()
}

// Peek returns at least n unread bytes, reading as needed; less comes only with an error, and
// io.EOF in the middle is io.ErrUnexpectedEOF. n is at most BufferSize. The bytes are valid until
// the next read.
func (c *Conn) Peek(n int) ([]byte, error) {
	if n > BufferSize {
		return nil, ErrPeekTooLong
	}
	if c.head == nil && n > 0 {
		b, err := c.waiter.WaitReadBuffer()
		if err != nil {
			return nil, err
		}
		c.head = b
	}
	if err := c.more(n); err != nil {
		return c.Buffered(), err
	}
	return c.Buffered(), nil
}

// PeekMore waits for more bytes than are buffered now.
func (c *Conn) PeekMore() ([]byte, error) { return c.Peek(len(c.Buffered()) + 1) }

// more reads into head until it holds n bytes. The rear room stays free for writers.
func (c *Conn) more(n int) error {
	for c.head != nil && c.head.Len() < n {
		room := c.head.FreeLen() - Headroom
		if room < n-c.head.Len() {
			c.regrow()
			room = c.head.FreeLen() - Headroom
		}
		m, err := c.Conn.Read(c.head.FreeBytes()[:room])
		c.head.Truncate(c.head.Len() + m)
		if m > 0 {
			continue
		}
		switch err {
		case nil:
			return io.ErrNoProgress
		case io.EOF:
			return io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// regrow moves the unread bytes to the start of a whole buffer.
func (c *Conn) regrow() {
	b := Get()
	_, _ = b.Write(c.head.Bytes()) // fits: n is at most BufferSize
	Put(c.head)
	c.head = Filled(b)
}

// Discard drops n unread bytes, reading as needed.
func (c *Conn) Discard(n int) (int, error) {
	done := 0
	for done < n {
		if c.head == nil {
			b, err := c.waiter.WaitReadBuffer()
			if err != nil {
				return done, err
			}
			c.head = b
		}
		step := min(n-done, c.head.Len())
		c.head.Advance(step)
		done += step
		c.trim()
	}
	return done, nil
}

// trim gives an empty buffer back.
func (c *Conn) trim() {
	if c.head != nil && c.head.IsEmpty() {
		Put(c.head)
		c.head = nil
	}
}

// Read implements io.Reader.
func (c *Conn) Read(p []byte) (int, error) {
	if c.head == nil {
		return c.Conn.Read(p)
	}
	n := copy(p, c.head.Bytes())
	c.head.Advance(n)
	c.trim()
	return n, nil
}

// InitializeReadWaiter implements N.ReadWaiter. Buffers always have Headroom on both sides.
func (c *Conn) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

// WaitReadBuffer implements N.ReadWaiter. The buffer is the caller's, for Put.
func (c *Conn) WaitReadBuffer() (*buf.Buffer, error) {
	if b := c.ReadCached(); b != nil {
		return b, nil
	}
	return c.waiter.WaitReadBuffer()
}

// ReadCached hands over the unread bytes, or nil. It implements N.CachedReader.
func (c *Conn) ReadCached() *buf.Buffer {
	b := c.head
	c.head = nil
	return b
}

// Unread puts the bytes of b, which becomes the connection's, before what was not read yet.
func (c *Conn) Unread(b *buf.Buffer) {
	if c.head == nil {
		c.head = b
		c.trim()
		return
	}
	whole := Get()
	_, err1 := whole.Write(b.Bytes())
	n, err2 := whole.Write(c.head.Bytes())
	if err1 != nil || err2 != nil || n != c.head.Len() {
		panic(fmt.Sprintf("netio: unread %d bytes before %d", b.Len(), c.head.Len()))
	}
	Put(b)
	Put(c.head)
	c.head = Filled(whole)
}

// Drop gives the unread bytes up. It is for the reading goroutine once it will read no more.
func (c *Conn) Drop() {
	Put(c.head)
	c.head = nil
}

// ReaderReplaceable says whether reads may go to the inner connection: once nothing is unread.
func (c *Conn) ReaderReplaceable() bool { return c.head == nil }

// WriterReplaceable says that writes may go to the inner connection.
func (c *Conn) WriterReplaceable() bool { return true }

// Upstream returns the inner connection.
func (c *Conn) Upstream() any { return c.Conn }

// CloseWrite ends the writing side; see CloseWrite.
func (c *Conn) CloseWrite() error { return CloseWrite(c.Conn) }

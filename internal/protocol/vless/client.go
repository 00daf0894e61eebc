package vless

import (
	"errors"
	"fmt"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
)

// ParseResponse returns the length in bytes of the response header at the start of b; payload follows.
// The addons are skipped: a server has none to say yet. Errors are those of ParseRequest.
//
//	| version 0 | addons length 1 | addons |
func ParseResponse(b []byte) (n int, err error) {
	if len(b) > 0 && b[0] != Version {
		return 0, fmt.Errorf("%w: response of version %d, want %d", ErrBadRequest, b[0], Version)
	}
	if len(b) < 2 {
		return 0, ErrShort
	}
	if n = 2 + int(b[1]); len(b) < n {
		return 0, ErrShort
	}
	return n, nil
}

var (
	_ wire.Conn        = (*ClientConn)(nil)
	_ N.ReadWaiter     = (*ClientConn)(nil)
	_ N.ExtendedWriter = (*ClientConn)(nil)
)

// ClientConn is the client's side of a stream that begins with a request: it takes the response header
// off what is read. The writer is replaceable, the reader is once the header was read.
type ClientConn struct {
	wire.Conn
	front    int // headroom of the inner connection
	answered bool
	waiter   N.ReadWaiter
}

// NewClientConn reads answers on conn. waiter is how to wait for data of conn without a buffer. Closing
// it closes conn.
func NewClientConn(conn wire.Conn, waiter N.ReadWaiter) *ClientConn {
	return &ClientConn{Conn: conn, front: N.CalculateFrontHeadroom(conn), waiter: waiter}
}

// answer waits for the response header and drops it.
func (c *ClientConn) answer() error {
	if c.answered {
		return nil
	}
	_, n, err := wire.PeekHeader(c.Conn, func(b []byte) (struct{}, int, error) {
		n, err := ParseResponse(b)
		return struct{}{}, n, err
	})
	if err == nil {
		_, err = c.Conn.Discard(n)
	}
	if err != nil {
		return err
	}
	c.answered = true
	return nil
}

// Read implements io.Reader.
func (c *ClientConn) Read(p []byte) (int, error) {
	if err := c.answer(); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Peek implements wire.Source.
func (c *ClientConn) Peek(n int) ([]byte, error) {
	if err := c.answer(); err != nil {
		return nil, err
	}
	return c.Conn.Peek(n)
}

// Discard implements wire.Source.
func (c *ClientConn) Discard(n int) (int, error) {
	if err := c.answer(); err != nil {
		return 0, err
	}
	return c.Conn.Discard(n)
}

// InitializeReadWaiter implements N.ReadWaiter.
func (c *ClientConn) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

// WaitReadBuffer implements N.ReadWaiter.
func (c *ClientConn) WaitReadBuffer() (*buf.Buffer, error) {
	if err := c.answer(); err != nil {
		return nil, err
	}
	return c.waiter.WaitReadBuffer()
}

// WriteBuffer implements N.ExtendedWriter. It owns b.
func (c *ClientConn) WriteBuffer(b *buf.Buffer) error { return wire.WriteBuffer(c.Conn, b, c.front) }

// CloseWrite ends the writing side. The error is errors.ErrUnsupported when the inner connection has
// no half-close.
func (c *ClientConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// FrontHeadroom is the inner connection's.
func (c *ClientConn) FrontHeadroom() int { return c.front }

// ReaderReplaceable reports whether reads may go to the inner connection: once the header was read.
func (c *ClientConn) ReaderReplaceable() bool { return c.answered }

// WriterReplaceable reports that writes may go to the inner connection.
func (c *ClientConn) WriterReplaceable() bool { return true }

// Upstream returns the inner connection.
func (c *ClientConn) Upstream() any { return c.Conn }

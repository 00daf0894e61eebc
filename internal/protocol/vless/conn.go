package vless

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
)

// response is the response header: version and no addons.
var response = [2]byte{Version, 0}

// copyLimit is the most payload in bytes that is copied to send the response header along with it.
const copyLimit = 16 << 10

var (
	_ wire.Conn        = (*ServerConn)(nil)
	_ N.ExtendedWriter = (*ServerConn)(nil)
	_ N.EarlyWriter    = (*ServerConn)(nil)
)

// ServerConn is the server's side of a stream after its request was read. The response header goes
// out with the first write, in one write; from then on the writer is replaceable by the inner
// connection. The reader always is.
type ServerConn struct {
	wire.Conn
	front int // headroom of the inner connection

	mu   sync.Mutex  // held while the header goes out
	sent atomic.Bool // the header is out
}

// NewServerConn answers on conn. Closing it closes conn.
func NewServerConn(conn wire.Conn) *ServerConn {
	return &ServerConn{Conn: conn, front: N.CalculateFrontHeadroom(conn)}
}

// Write implements io.Writer.
func (c *ServerConn) Write(p []byte) (int, error) {
	if c.sent.Load() {
		return c.Conn.Write(p)
	}
	n, first, err := c.writeFirst(p)
	if !first {
		return c.Conn.Write(p)
	}
	if err != nil || n == len(p) {
		return n, err
	}
	m, err := c.Conn.Write(p[n:])
	return n + m, err
}

// writeFirst sends the header with the start of p, unless it is out already, and returns how much of
// p went.
func (c *ServerConn) writeFirst(p []byte) (n int, first bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent.Load() {
		return 0, false, nil
	}
	defer c.sent.Store(true) // on error too: the stream is broken then, a second header mends nothing
	n = min(len(p), copyLimit)
	b := buf.NewSize(c.front + len(response) + n)
	b.Resize(c.front, 0)
	_, _ = b.Write(response[:])
	_, _ = b.Write(p[:n])
	if err := wire.WriteBuffer(c.Conn, b, c.front); err != nil {
		return 0, true, err
	}
	return n, true, nil
}

// WriteBuffer implements N.ExtendedWriter. It owns b.
func (c *ServerConn) WriteBuffer(b *buf.Buffer) error {
	if c.sent.Load() {
		return wire.WriteBuffer(c.Conn, b, c.front)
	}
	if b.Start() < len(response) {
		_, err := c.Write(b.Bytes())
		b.Release()
		return err
	}
	c.mu.Lock()
	if c.sent.Load() {
		c.mu.Unlock()
		return wire.WriteBuffer(c.Conn, b, c.front)
	}
	defer c.mu.Unlock()
	defer c.sent.Store(true)
	copy(b.ExtendHeader(len(response)), response[:])
	return wire.WriteBuffer(c.Conn, b, c.front)
}

// CloseWrite ends the writing side, after the header when nothing was written yet. The error is
// errors.ErrUnsupported when the inner connection has no half-close.
func (c *ServerConn) CloseWrite() error {
	if !c.sent.Load() {
		if _, err := c.Write(nil); err != nil {
			return err
		}
	}
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// FrontHeadroom asks for the room of the response header while it is not out.
func (c *ServerConn) FrontHeadroom() int {
	if c.sent.Load() {
		return 0
	}
	return len(response)
}

// NeedHandshakeForWrite tells sing's copy loop to look again after the first write.
func (c *ServerConn) NeedHandshakeForWrite() bool { return !c.sent.Load() }

// WriterReplaceable reports whether writes may go to the inner connection: once the header is out.
func (c *ServerConn) WriterReplaceable() bool { return c.sent.Load() }

// ReaderReplaceable reports that reads may go to the inner connection.
func (c *ServerConn) ReaderReplaceable() bool { return true }

// Upstream returns the inner connection.
func (c *ServerConn) Upstream() any { return c.Conn }

var _ net.Conn = (*ServerConn)(nil)

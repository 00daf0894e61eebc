package ws

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/constant"
)

// earlyConn is a client's end that asks for its stream with the first write, whose start goes along:
// one round trip less. Reading waits for that, and so it is for protocols whose clients speak first.
// Deadlines are the socket's.
type earlyConn struct {
	net.Conn // the socket
	dialer   *Dialer

	mu    sync.Mutex    // asking
	asked chan struct{} // closed once the following are set
	ws    *Conn
	err   error
}

var (
	_ N.ReadWaiter     = (*earlyConn)(nil)
	_ N.ExtendedWriter = (*earlyConn)(nil)
)

func newEarlyConn(c net.Conn, d *Dialer) *earlyConn {
	return &earlyConn{Conn: c, dialer: d, asked: make(chan struct{})}
}

// open reports whether the stream was asked for.
func (c *earlyConn) open() bool {
	select {
	case <-c.asked:
		return true
	default:
		return false
	}
}

// stream asks for the stream, unless that was done, with the start of p. It returns how much of p went
// along.
func (c *earlyConn) stream(p []byte) (ws *Conn, n int, err error) {
	if c.open() {
		return c.ws, 0, c.err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open() {
		return c.ws, 0, c.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), constant.HandshakeTimeout)
	defer cancel()
	early := p[:min(len(p), c.dialer.maxEarly)]
	c.ws, c.err = c.dialer.ask(ctx, c.Conn, early)
	close(c.asked)
	if c.err != nil {
		return nil, 0, c.err
	}
	return c.ws, len(early), nil
}

// Write implements io.Writer.
func (c *earlyConn) Write(p []byte) (int, error) {
	ws, n, err := c.stream(p)
	if err != nil {
		return 0, err
	}
	m, err := ws.Write(p[n:])
	return n + m, err
}

// FrontHeadroom is the room that WriteBuffer wants before the payload.
func (c *earlyConn) FrontHeadroom() int { return maxHeader }

// WriteBuffer implements N.ExtendedWriter. b is released.
func (c *earlyConn) WriteBuffer(b *buf.Buffer) error {
	ws, n, err := c.stream(b.Bytes())
	if err != nil {
		b.Release()
		return err
	}
	b.Advance(n)
	return ws.WriteBuffer(b)
}

// Read implements io.Reader.
func (c *earlyConn) Read(p []byte) (int, error) {
	if <-c.asked; c.err != nil {
		return 0, c.err
	}
	return c.ws.Read(p)
}

// InitializeReadWaiter implements N.ReadWaiter.
func (c *earlyConn) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

// WaitReadBuffer implements N.ReadWaiter; see Conn.
func (c *earlyConn) WaitReadBuffer() (*buf.Buffer, error) {
	if <-c.asked; c.err != nil {
		return nil, c.err
	}
	return c.ws.WaitReadBuffer()
}

// CloseWrite implements what a client's Conn says.
func (c *earlyConn) CloseWrite() error { return errors.ErrUnsupported }

// Close closes the stream, or the socket when there is none.
func (c *earlyConn) Close() error {
	if c.open() && c.err == nil {
		return c.ws.Close()
	}
	err := c.Conn.Close() // ends a request that is under way
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.open():
		c.err = net.ErrClosed
		close(c.asked)
	case c.ws != nil: // it came just now
		_ = c.ws.Close()
	}
	return err
}

package hysteria2

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"

	"github.com/sagernet/quic-go"
	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/netio"
	"heki/internal/protocol/hysteria2"
	"heki/internal/protocol/wire"
)

// streamConn is a TCP stream of a client. The answer to its request goes out with HandshakeSuccess or
// HandshakeFailure, else before the first byte. Reading is for one goroutine at a time, and so is
// writing.
type streamConn struct {
	*quic.Stream
	conn     *quic.Conn
	answered bool
	ended    atomic.Bool // CloseWrite
	look     [1]byte
}

var (
	_ net.Conn     = (*streamConn)(nil)
	_ N.ReadWaiter = (*streamConn)(nil)

	_ netio.BulkWriter = (*streamConn)(nil)
)

// InitializeReadWaiter implements N.ReadWaiter. Buffers always have netio.Headroom on both sides.
func (c *streamConn) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

// WaitReadBuffer implements N.ReadWaiter: no buffer is held while it waits.
func (c *streamConn) WaitReadBuffer() (*buf.Buffer, error) {
	if _, err := c.Stream.Peek(c.look[:]); err != nil {
		return nil, readError(err)
	}
	b := netio.Get()
	n, err := c.Stream.Read(b.FreeBytes())
	if n == 0 {
		netio.Put(b)
		if err == nil {
			err = io.ErrNoProgress
		}
		return nil, readError(err)
	}
	b.Truncate(n) // an error that came with data comes again
	return netio.Filled(b), nil
}

// Read implements io.Reader.
func (c *streamConn) Read(p []byte) (int, error) {
	n, err := c.Stream.Read(p)
	return n, readError(err)
}

// readError tells our own end from others'.
func readError(err error) error {
	var ended *quic.StreamError
	if errors.As(err, &ended) && !ended.Remote {
		return net.ErrClosed
	}
	return err
}

// Write implements io.Writer.
func (c *streamConn) Write(p []byte) (int, error) {
	if err := c.HandshakeSuccess(); err != nil {
		return 0, err
	}
	n, err := c.Stream.Write(p)
	return n, readError(err)
}

// PrefersBulk implements netio.BulkWriter: QUIC takes a chunk when the connection's goroutine makes
// packets of it.
func (*streamConn) PrefersBulk() {}

// HandshakeSuccess tells the client that its destination was reached.
func (c *streamConn) HandshakeSuccess() error { return c.answer(hysteria2.Response{OK: true}) }

// HandshakeFailure tells the client that its destination was not reached, and roughly why.
func (c *streamConn) HandshakeFailure(err error) error {
	return errors.Join(c.answer(hysteria2.Response{Message: wire.Explain(err)}), c.CloseWrite())
}

func (c *streamConn) answer(r hysteria2.Response) error {
	if c.answered {
		return nil
	}
	c.answered = true
	r.Padding = 128 + rand.N(1024-128) // PROTOCOL.md: 128 to 1023
	_, err := c.Stream.Write(hysteria2.AppendResponse(nil, r))
	return readError(err)
}

// CloseWrite ends our side.
func (c *streamConn) CloseWrite() error {
	if err := c.HandshakeSuccess(); err != nil {
		return err
	}
	c.ended.Store(true)
	return c.Stream.Close()
}

// Close ends both sides: what was written before CloseWrite still arrives, without one the client sees
// that something is missing.
func (c *streamConn) Close() error {
	c.Stream.CancelRead(0)
	if !c.ended.Load() {
		c.Stream.CancelWrite(0)
	}
	return nil
}

// LocalAddr returns the address of the connection.
func (c *streamConn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr returns the address of the connection.
func (c *streamConn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

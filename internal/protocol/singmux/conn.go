package singmux

import (
	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
)

var (
	_ wire.Conn        = (*streamConn)(nil)
	_ N.ExtendedWriter = (*streamConn)(nil)
)

// streamConn is a TCP stream of the client after its request was read. The status goes out with
// HandshakeSuccess, or with the first write; from then on it is replaceable. Writing is for one
// goroutine at a time.
type streamConn struct {
	wire.Conn
	raw      stream
	answered bool
}

// Write implements io.Writer.
func (c *streamConn) Write(p []byte) (int, error) {
	if c.answered {
		return c.Conn.Write(p)
	}
	b := buf.NewSize(1 + len(p))
	b.Resize(1, 0)
	_, _ = b.Write(p)
	if err := c.WriteBuffer(b); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteBuffer implements N.ExtendedWriter. It owns b.
func (c *streamConn) WriteBuffer(b *buf.Buffer) error {
	if !c.answered {
		c.answered = true
		b = wire.Headroom(b, 1)
		b.ExtendHeader(1)[0] = statusSuccess
	}
	return wire.WriteBuffer(c.Conn, b, 0)
}

// HandshakeSuccess tells the client that its destination was reached.
func (c *streamConn) HandshakeSuccess() error {
	if c.answered {
		return nil
	}
	_, err := c.Write(nil)
	return err
}

// HandshakeFailure tells the client that its destination was not reached, and roughly why: what our
// rules and addresses are is not the client's business. It implements N.HandshakeFailure.
func (c *streamConn) HandshakeFailure(err error) error {
	if c.answered {
		return nil
	}
	c.answered = true
	_, err = c.Conn.Write(AppendFailure(nil, wire.Explain(err)))
	return err
}

// CloseWrite ends the writing side, after the status when nothing was written yet.
func (c *streamConn) CloseWrite() error {
	if err := c.HandshakeSuccess(); err != nil {
		return err
	}
	return c.raw.CloseWrite()
}

// FrontHeadroom asks for the room of the status while it is not out.
func (c *streamConn) FrontHeadroom() int {
	if c.answered {
		return 0
	}
	return 1
}

// WriterReplaceable reports whether writes may go to the inner connection: once the status is out.
func (c *streamConn) WriterReplaceable() bool { return c.answered }

// ReaderReplaceable reports that reads may go to the inner connection.
func (c *streamConn) ReaderReplaceable() bool { return true }

// Upstream returns the inner connection.
func (c *streamConn) Upstream() any { return c.Conn }

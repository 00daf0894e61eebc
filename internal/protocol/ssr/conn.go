package ssr

import (
	"errors"
	"net"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
)

// Conn is one end of a stream. Reading is for one goroutine at a time, writing for any number.
type Conn struct {
	net.Conn // the inner connection
	source   wire.Source
	r        pipe
	w        writer
	rest     *buf.Buffer // payload for the next Read
	err      error       // of reading, final
	dial     *dial       // a client's, else nil

	// Heard, when set, is called after each read from the inner connection.
	Heard func()
}

var (
	_ net.Conn         = (*Conn)(nil)
	_ N.ReadWaiter     = (*Conn)(nil)
	_ N.ExtendedWriter = (*Conn)(nil)
)

func newConn(conn wire.Conn, p pipe) *Conn { return &Conn{Conn: conn, source: conn, r: p} }

// InitializeReadWaiter implements N.ReadWaiter. Buffers are the pool's.
func (c *Conn) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

// WaitReadBuffer implements N.ReadWaiter. While it waits between frames no buffer is held; the one that
// it returns is the caller's, and the pool's.
func (c *Conn) WaitReadBuffer() (*buf.Buffer, error) {
	if b := c.rest; b != nil {
		c.rest = nil
		return b, nil
	}
	if c.dial != nil {
		if err := c.dial.begin(c); err != nil {
			return nil, err
		}
	}
	for {
		if b := c.r.take(); b != nil {
			return b, nil
		}
		if c.err != nil {
			return nil, c.err
		}
		if err := c.more(); err != nil {
			return nil, err
		}
	}
}

// more reads once. Errors of the connection may pass, as those of deadlines do; errors of the stream
// are for when its payload was taken.
func (c *Conn) more() error {
	in, err := c.source.Peek(1)
	if len(in) == 0 {
		return c.r.end(err)
	}
	if c.Heard != nil {
		c.Heard()
	}
	used, err := c.r.feed(in)
	if _, err := c.source.Discard(used); err != nil {
		return err
	}
	c.err = err
	if used == 0 && err == nil {
		c.err = errors.New("no room") // never: the buffer holds what may be there in part
	}
	if c.r.answer {
		c.r.answer = false
		if c.dial == nil {
			return c.w.ping()
		}
	}
	return nil
}

// Read implements io.Reader.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := c.WaitReadBuffer()
	if err != nil {
		return 0, err
	}
	n, _ := b.Read(p)
	if b.IsEmpty() {
		wire.Give(c.r.pool, b)
	} else {
		c.rest = b
	}
	return n, nil
}

// Write implements io.Writer.
func (c *Conn) Write(p []byte) (int, error) {
	if c.dial != nil {
		return c.dial.write(c, p)
	}
	return c.w.write(p)
}

// WriteBuffer implements N.ExtendedWriter. It owns b.
func (c *Conn) WriteBuffer(b *buf.Buffer) error {
	_, err := c.Write(b.Bytes())
	b.Release()
	return err
}

// CloseWrite ends the writing side with the inner connection's half-close. The stream itself has none.
func (c *Conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Drop gives up what was read ahead. It is for the reading goroutine once it reads no more.
func (c *Conn) Drop() {
	if c.rest != nil {
		wire.Give(c.r.pool, c.rest)
		c.rest = nil
	}
	c.r.drop()
}

// Upstream returns the inner connection.
func (c *Conn) Upstream() any { return c.Conn }

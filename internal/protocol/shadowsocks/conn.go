package shadowsocks

import (
	"crypto/cipher"
	"errors"
	"net"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/chunk"
	"heki/internal/protocol/wire"
)

// Conn is one end of an encrypted stream. What it begins with goes out with the first write, in one
// write. Reading is for one goroutine at a time, writing for any number. Neither direction is
// replaceable.
type Conn struct {
	net.Conn // the inner connection
	r        chunk.Reader
	w        writer
	sing     *wire.SingPool // the pool, when it is ours
	first    int            // headroom that the preface needs
}

var (
	_ net.Conn         = (*Conn)(nil)
	_ N.ReadWaiter     = (*Conn)(nil)
	_ N.ExtendedWriter = (*Conn)(nil)
	_ N.EarlyWriter    = (*Conn)(nil)
)

// NewConn reads chunks from conn with in, and writes them with out after preface, which may be none.
// pool may be nil.
// Closing it closes conn.
func NewConn(conn wire.Conn, in chunk.Opener, out Half, preface Preface, pool wire.Pool) *Conn {
	c := &Conn{Conn: conn, first: preface.Most}
	c.w.started.Store(preface.Append == nil)
	if pool == nil {
		c.sing = new(wire.SingPool)
		pool = c.sing
	}
	c.r.Init(conn, in, pool)
	c.w.half, c.w.preface = out, preface
	c.w.inner, c.w.front, c.w.pool = conn, N.CalculateFrontHeadroom(conn), pool
	return c
}

// NewServerConn answers on conn, the salt of which was read: in is the cipher that Try found with k.
// salt is random and KeySize bytes long. pool may be nil. What is read begins with an address.
func NewServerConn(conn wire.Conn, m Method, k *Key, in cipher.AEAD, salt []byte, pool wire.Pool) *Conn {
	half := NewHalf(in, MaxPayload)
	return NewConn(conn, &half, m.newHalf(k, salt), SaltPreface(salt), pool)
}

func (m Method) newHalf(k *Key, salt []byte) Half {
	s := newSchedule()
	s.setSalt(salt)
	return NewHalf(m.aead(s.subkey(k)), MaxPayload)
}

// Reader is the reading half, for those who read a header from it.
func (c *Conn) Reader() *chunk.Reader { return &c.r }

// Read implements io.Reader.
func (c *Conn) Read(p []byte) (int, error) { return c.r.Read(p) }

// InitializeReadWaiter implements N.ReadWaiter. The options count without a Pool only.
func (c *Conn) InitializeReadWaiter(options N.ReadWaitOptions) bool {
	if c.sing != nil {
		c.sing.Options = options
	}
	return false
}

// WaitReadBuffer implements N.ReadWaiter. No buffer is held while it waits; the one that it returns
// is the caller's, and the pool's.
func (c *Conn) WaitReadBuffer() (*buf.Buffer, error) { return c.r.Wait() }

// Write implements io.Writer.
func (c *Conn) Write(p []byte) (int, error) { return c.w.write(p) }

// Flush sends a client's destination alone, unless it is out already.
func (c *Conn) Flush() error {
	if c.w.started.Load() {
		return nil
	}
	_, err := c.w.write(nil)
	return err
}

// WriteBuffer implements N.ExtendedWriter. It owns b.
func (c *Conn) WriteBuffer(b *buf.Buffer) error { return c.w.writeBuffer(b) }

// CloseWrite ends the writing side: nothing marks that but the inner connection's half-close. The
// error is errors.ErrUnsupported when there is none.
func (c *Conn) CloseWrite() error {
	if err := c.w.finish(); err != nil {
		return err
	}
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Drop gives up the bytes that were read ahead. It is for the reading goroutine once it reads no more.
func (c *Conn) Drop() { c.r.Drop() }

// FrontHeadroom is the most that is put before what is written.
func (c *Conn) FrontHeadroom() int {
	if !c.w.started.Load() {
		return c.first
	}
	return sealedLength
}

// RearHeadroom is the most that is put behind what is written.
func (c *Conn) RearHeadroom() int { return TagSize }

// NeedHandshakeForWrite tells copy loops to look again after the first write.
func (c *Conn) NeedHandshakeForWrite() bool { return !c.w.started.Load() }

// Upstream returns the inner connection.
func (c *Conn) Upstream() any { return c.Conn }

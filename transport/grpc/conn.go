package grpc

import (
	"io"
	"net"
	"sync/atomic"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/netio"
	"heki/transport/internal/h2"
	"heki/transport/internal/web"
)

// Conn is a stream in the Hunks of a call. It holds no buffer while it waits. One goroutine may read
// while another writes.
//
// gRPC has no half-close by the server: a client that gets the status of its call stops sending. So the
// status is a web.Farewell.
type Conn struct {
	*h2.Stream
	server bool
	dec    decoder
	err    error // final, of reading
	reads  atomic.Uint32
	eof    atomic.Bool

	finished atomic.Bool // CloseWrite was called
	farewell web.Farewell
}

var (
	_ N.ReadWaiter     = (*Conn)(nil)
	_ N.ExtendedWriter = (*Conn)(nil)
)

// WaitReadBuffer implements N.ReadWaiter. The buffer, the caller's for netio.Put, is the one that the
// messages were read into.
func (c *Conn) WaitReadBuffer() (*buf.Buffer, error) {
	for c.err == nil {
		b, err := c.Stream.WaitReadBuffer()
		if err != nil {
			return nil, c.note(err)
		}
		start, n := c.decode(b.Bytes())
		if n > 0 {
			b.Advance(start)
			b.Truncate(n)
			return b, nil
		}
		netio.Put(b)
	}
	return nil, c.err
}

// Read implements io.Reader. It uses all of p while it works.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, c.err
	}
	for c.err == nil {
		m, err := c.Stream.Read(p)
		start, n := c.decode(p[:m])
		if n > 0 {
			return copy(p, p[start:start+n]), nil // an error comes again
		}
		if err != nil {
			return 0, c.note(err)
		}
	}
	return 0, c.err
}

// note makes an end inside a message an error. Others come again.
func (c *Conn) note(err error) error {
	if err != io.EOF {
		return err
	}
	c.eof.Store(true)
	if c.dec.partial() {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decode works through b and leaves the payload of all messages in it at b[start:start+n].
func (c *Conn) decode(b []byte) (start, n int) {
	at := 0
	for at < len(b) && c.err == nil {
		m, data, err := c.dec.next(b[at:])
		at += m
		switch {
		case err != nil:
			c.err = err
		case len(data) == 0:
		case n == 0:
			start, n = at-len(data), len(data)
		default:
			n += copy(b[start+n:], data)
		}
	}
	if n > 0 {
		c.reads.Add(1)
	}
	return start, n
}

// FrontHeadroom is the room that WriteBuffer wants before the payload.
func (c *Conn) FrontHeadroom() int { return maxHead + c.Stream.FrontHeadroom() }

// WriteBuffer sends b as one Hunk, whose head is written before it in place. b is released.
func (c *Conn) WriteBuffer(b *buf.Buffer) error {
	if b.IsEmpty() {
		b.Release()
		return nil
	}
	if b.Start() < c.FrontHeadroom() {
		defer b.Release()
		_, err := c.Write(b.Bytes())
		return err
	}
	if c.finished.Load() {
		b.Release()
		return net.ErrClosed
	}
	var h [maxHead]byte
	head := appendHead(h[:0], b.Len())
	copy(b.ExtendHeader(len(head)), head)
	return c.Stream.WriteBuffer(b)
}

// Write implements io.Writer: Hunks of at most netio.BufferSize bytes.
func (c *Conn) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		b := netio.Get()
		n, _ := b.Write(p[done:])
		err := c.WriteBuffer(netio.Filled(b))
		netio.Put(b)
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// CloseWrite says that nothing more will be written. A client hears of it a moment later; see Conn.
func (c *Conn) CloseWrite() error {
	if c.finished.Swap(true) {
		return nil
	}
	if !c.server || c.eof.Load() {
		return c.Stream.CloseWrite()
	}
	c.farewell.Say(&c.reads, func() { _ = c.Stream.CloseWrite() }) // the reader sees the same failure
	return nil
}

// Close ends the call.
func (c *Conn) Close() error {
	c.farewell.Stop()
	return c.Stream.Close()
}

package vmess

import (
	"errors"
	"net"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
)

// Conn is one end of a connection after the request: what is written to it is encrypted, what is read
// from it was. Its header, the server's response or the client's request, goes out with the first
// write, in one write. Reading is for one goroutine at a time, writing for any number.
//
// Without encryption and chunks both directions are replaceable by the inner connection, once the
// headers are through.
type Conn struct {
	net.Conn // the inner connection
	r        reader
	w        writer
	sing     *wire.SingPool // the pool, when it is ours
	first    int            // headroom that the header needs
}

var (
	_ net.Conn         = (*Conn)(nil)
	_ N.ReadWaiter     = (*Conn)(nil)
	_ N.ExtendedWriter = (*Conn)(nil)
	_ N.EarlyWriter    = (*Conn)(nil)
)

// NewServerConn answers on conn, from which the request s was read. pool may be nil. Closing it closes
// conn.
func NewServerConn(conn wire.Conn, s Session, pool wire.Pool) *Conn {
	key, iv := s.responseKeys()
	c := newConn(conn, &s, newBody(&s, s.Key, s.IV), newBody(&s, key, iv), pool)
	w := &c.w
	if !s.Legacy {
		w.head, w.most = s.sealResponse, sealedResponse
	} else {
		stream := w.cfb // goes on with the body when that is legacy too
		if stream == nil {
			stream = newCFB(key, iv)
		}
		w.head, w.most = func(b []byte) []byte {
			at := len(b)
			b = append(b, s.Response, 0, 0, 0)
			stream.Encrypt(b[at:], b[at:])
			return b
		}, responseHeader
	}
	c.first = w.most
	return c
}

// NewClientConn is the client's end on conn: request, as sealed, goes out with the first write, and
// the response header is checked before the first read. pool may be nil. Closing it closes conn.
func NewClientConn(conn wire.Conn, s Session, request []byte, pool wire.Pool) *Conn {
	key, iv := s.responseKeys()
	c := newConn(conn, &s, newBody(&s, key, iv), newBody(&s, s.Key, s.IV), pool)
	c.w.head = func(b []byte) []byte { return append(b, request...) }
	c.w.most = len(request)
	c.first = len(request)
	open := s.openResponse
	if s.Legacy {
		stream := c.r.cfb
		if stream == nil {
			stream = newCFB(key, iv)
		}
		open = func(b []byte) (int, error) { return s.openLegacyResponse(b, stream) }
	}
	c.r.prologue = func() error { return c.r.readResponse(open) }
	return c
}

func newConn(conn wire.Conn, s *Session, in, out body, pool wire.Pool) *Conn {
	c := &Conn{Conn: conn}
	if pool == nil {
		c.sing = new(wire.SingPool)
		pool = c.sing
	}
	c.r.init(conn, in, pool)
	c.r.packets = s.Command == CommandUDP
	c.w.body, c.w.inner, c.w.front, c.w.pool = out, conn, N.CalculateFrontHeadroom(conn), pool
	return c
}

// readResponse consumes the response header.
func (r *reader) readResponse(open func([]byte) (int, error)) error {
	for need := 1; ; {
		b, err := wire.PeekFrame(r.source, need-1, need)
		if err != nil {
			return err
		}
		n, err := open(b)
		if err == nil {
			_, err = r.source.Discard(n)
			return err
		}
		if !errors.Is(err, ErrShort) {
			return r.fail(err)
		}
		need = len(b) + 1
	}
}

// Read implements io.Reader. At the end of the stream, marked by an empty chunk or not, the error is
// io.EOF.
func (c *Conn) Read(p []byte) (int, error) {
	if c.r.replaceable() {
		return c.Conn.Read(p)
	}
	return c.r.read(p)
}

// InitializeReadWaiter implements N.ReadWaiter. The options count without a Pool only.
func (c *Conn) InitializeReadWaiter(options N.ReadWaitOptions) bool {
	if c.sing != nil {
		c.sing.Options = options
	}
	return false
}

// WaitReadBuffer implements N.ReadWaiter. No buffer is held while it waits; the one that it returns
// is the caller's, and the pool's.
func (c *Conn) WaitReadBuffer() (*buf.Buffer, error) { return c.r.wait() }

// Write implements io.Writer.
func (c *Conn) Write(p []byte) (int, error) { return c.w.write(p) }

// Flush sends the header alone, unless it is out already.
func (c *Conn) Flush() error {
	if c.w.started.Load() {
		return nil
	}
	_, err := c.w.write(nil)
	return err
}

// WriteBuffer implements N.ExtendedWriter. It owns b.
func (c *Conn) WriteBuffer(b *buf.Buffer) error { return c.w.writeBuffer(b) }

// CloseWrite ends the writing side: with the empty chunk where there are chunks, which is enough over
// connections without a half-close, and with the inner connection's half-close. The error is
// errors.ErrUnsupported when there is neither.
func (c *Conn) CloseWrite() error {
	if err := c.w.finish(); err != nil {
		return err
	}
	err := errors.ErrUnsupported
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		err = w.CloseWrite()
	}
	if c.w.chunked && errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// Drop gives up the bytes that were read ahead. It is for the reading goroutine once it reads no more.
func (c *Conn) Drop() { c.r.drop() }

// FrontHeadroom is the most that is put before what is written.
func (c *Conn) FrontHeadroom() int {
	n := 0
	if c.w.chunked {
		n = c.w.size() + c.w.body.front
	}
	if !c.w.started.Load() {
		n += c.first
	}
	return n
}

// RearHeadroom is the most that is put behind what is written.
func (c *Conn) RearHeadroom() int {
	if !c.w.chunked {
		return 0
	}
	return c.w.rear + maxChunkPadding
}

// NeedHandshakeForWrite tells copy loops to look again after the first write.
func (c *Conn) NeedHandshakeForWrite() bool { return !c.w.started.Load() }

// ReaderReplaceable reports whether reads may go to the inner connection.
func (c *Conn) ReaderReplaceable() bool { return c.r.replaceable() }

// WriterReplaceable reports whether writes may go to the inner connection.
func (c *Conn) WriterReplaceable() bool { return c.w.raw() && c.w.started.Load() }

// Upstream returns the inner connection.
func (c *Conn) Upstream() any { return c.Conn }

package tls

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/netio"
)

// Conn is a TLS connection after its handshake. Waiting for data it holds no buffer: ciphertext is
// read into a pooled buffer that crypto/tls decrypts in place and that goes back as soon as no part
// of a record is left in it.
//
// One goroutine may read while another writes; deadlines and Close may come from anywhere.
type Conn struct {
	engine
	lower *lower

	mu   sync.Mutex  // reading
	in   buffers     // the engine's
	held *buf.Buffer // backs in.raw while that has unread bytes
	err  error       // the first error of reading that is final
	slow N.ReadWaiter

	wmu sync.Mutex // one gathering Write
}

var _ N.ReadWaiter = (*Conn)(nil)

// engine does the cryptography: crypto/tls' connection, or metacubex/utls', which is made of the same
// code. "crypto/tls" below means either.
type engine interface {
	net.Conn
	CloseWrite() error
	ConnectionState() tls.ConnectionState
}

// newConn wraps c, which stands on l, after its handshake. in is nil for an unknown layout.
func newConn(c engine, l *lower, in *buffers) *Conn {
	t := &Conn{engine: c, lower: l}
	if in != nil {
		t.in = *in
		t.in.dropHandshake()
		l.parked = true
	} else {
		t.slow = netio.NewWaiter(struct{ io.Reader }{c})
	}
	return t
}

// NetConn returns the connection below. What was read from it already is Leave's.
func (c *Conn) NetConn() net.Conn { return c.lower.Conn }

// Read implements io.Reader.
func (c *Conn) Read(p []byte) (int, error) {
	if c.slow != nil || len(p) == 0 {
		return c.engine.Read(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read(p)
}

func (c *Conn) read(p []byte) (int, error) {
	for {
		if err := c.await(); err != nil {
			return 0, err
		}
		n, err := c.engine.Read(p)
		c.settle()
		if n == 0 && errors.Is(err, errAgain) {
			continue
		}
		return n, c.note(err)
	}
}

// Write implements io.Writer. The records of up to netio.BufferSize bytes go out in one system call.
func (c *Conn) Write(p []byte) (int, error) {
	if len(p) <= maxPlaintext {
		return c.engine.Write(p)
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	b := netio.Get()
	defer netio.Put(b)
	b.Reset()
	c.lower.gatherIn(b.FreeBytes())
	n, err := c.engine.Write(p)
	if ferr := c.lower.flush(); err == nil {
		err = ferr
	}
	return n, err
}

// InitializeReadWaiter implements N.ReadWaiter.
func (c *Conn) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

// WaitReadBuffer implements N.ReadWaiter: it returns what of the arrived data fits one buffer, which
// is the caller's, for netio.Put.
func (c *Conn) WaitReadBuffer() (*buf.Buffer, error) {
	if c.slow != nil {
		return c.slow.WaitReadBuffer()
	}
	return c.collect((*Conn).drain)
}

// collect waits for data and returns what fill takes of it.
func (c *Conn) collect(fill func(*Conn, *buf.Buffer) error) (*buf.Buffer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := c.await(); err != nil {
			return nil, err
		}
		b := netio.Get()
		err := fill(c, b)
		c.settle()
		if b.Len() > 0 { // an error comes again with the next call
			return netio.Filled(b), nil
		}
		netio.Put(b)
		if err != nil {
			return nil, err
		}
	}
}

// drain decrypts into b what is there and fits. No data without an error means that the records held
// none, a key update for one.
func (c *Conn) drain(b *buf.Buffer) error {
	for b.FreeLen() > 0 && c.ready() {
		n, err := c.engine.Read(b.FreeBytes())
		b.Truncate(b.Len() + n)
		if errors.Is(err, errAgain) {
			return nil
		}
		if err != nil {
			return c.note(err)
		}
	}
	return nil
}

// note keeps a final error: crypto/tls would repeat it, but await would wait for more bytes first.
func (c *Conn) note(err error) error {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if c.err == nil {
		c.err = err
	}
	c.drop()
	return err
}

// await blocks until crypto/tls can read without blocking.
func (c *Conn) await() error {
	for !c.ready() {
		if c.err != nil {
			return c.err
		}
		if err := c.more(); err != nil {
			return c.note(err)
		}
	}
	return nil
}

// ready says whether there is plaintext, or a whole record, or a header that crypto/tls will refuse.
func (c *Conn) ready() bool {
	if c.in.plain.Len() > 0 {
		return true
	}
	b := c.in.raw.Bytes()
	if len(b) < recordHeader {
		return false
	}
	n := int(b[3])<<8 | int(b[4])
	return n > maxRecord || len(b) >= recordHeader+n
}

// more reads ciphertext: into a fresh buffer, or behind the part of a record that is there.
func (c *Conn) more() error {
	in := c.in.raw
	if in.Len() == 0 {
		c.settle()
		b, err := c.lower.wait()
		if err != nil {
			return err
		}
		c.held = b
		*in = *bytes.NewBuffer(b.Bytes())
		return nil
	}
	space := c.compact(in)
	n, err := c.lower.Conn.Read(space[in.Len():])
	if n > 0 {
		*in = *bytes.NewBuffer(space[:in.Len()+n])
		return nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// compact moves the unread ciphertext to the start of a pooled buffer and returns the room of that,
// in which a whole record fits.
func (c *Conn) compact(in *bytes.Buffer) []byte {
	rest := in.Bytes()
	if c.held == nil || c.held.RawCap() < batch {
		b := netio.Get()
		b.Reset()
		space := b.FreeBytes()[:batch]
		n := copy(space, rest)
		*in = *bytes.NewBuffer(space[:n])
		netio.Put(c.held)
		c.held = b
		return space
	}
	c.held.Reset()
	space := c.held.FreeBytes()[:batch]
	n := copy(space, rest)
	*in = *bytes.NewBuffer(space[:n])
	return space
}

// settle gives the buffer back once nothing in it is unread.
func (c *Conn) settle() {
	in, plain := c.in.raw, c.in.plain
	if in.Len() > 0 || plain.Len() > 0 {
		return
	}
	*in = bytes.Buffer{}
	plain.Reset(nil) // it would keep the memory of a buffer alive that the pool has dropped
	netio.Put(c.held)
	c.held = nil
}

// Close tells the peer and closes the connection. A peer that does not read holds it up for closeTime
// at most.
func (c *Conn) Close() error {
	c.lower.closing.Store(true)
	_ = c.lower.Conn.SetWriteDeadline(time.Now().Add(closeTime)) // also ends a CloseWrite that hangs
	err := c.engine.Close()
	if c.slow == nil && c.mu.TryLock() { // else the reader does it on its way out
		_ = c.note(net.ErrClosed)
		c.mu.Unlock()
	}
	return err
}

// drop gives up what is unread, for good.
func (c *Conn) drop() {
	*c.in.raw = bytes.Buffer{}
	c.in.plain.Reset(nil)
	netio.Put(c.held)
	c.held = nil
}

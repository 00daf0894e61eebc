package vision

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
)

// Outer is the TLS connection around the stream, which a direction can leave.
type Outer interface {
	N.ReadWaiter
	// WaitRecord returns the data of one record and does not look at what follows it.
	WaitRecord() (*buf.Buffer, error)
	// Leave ends reading and returns what was read of NetConn already, or nil.
	Leave() *buf.Buffer
	// WriteLast writes p, after which nothing of TLS is written.
	WriteLast(p []byte) error
	// NetConn is what TLS runs on.
	NetConn() net.Conn
}

// Options of one connection.
type Options struct {
	UUID [16]byte // as the client has sent it
	Seed Seed
	// Random returns 0 to n-1 for an n above 0. Who watches the connection must not be able to guess it.
	Random func(n int) int
	// Ahead is what was read of the stream already, or nil. The connection owns it.
	Ahead *buf.Buffer
	// Waiter returns the best way to wait for data of a socket.
	Waiter func(io.Reader) N.ReadWaiter
	// Direct is called once for each direction that leaves TLS, by the goroutine that reads or writes.
	Direct func(up bool)
}

var (
	_ net.Conn                    = (*Conn)(nil)
	_ N.ReadWaiter                = (*Conn)(nil)
	_ N.ExtendedWriter            = (*Conn)(nil)
	_ N.WithUpstreamReader        = (*Conn)(nil)
	_ N.WithUpstreamWriter        = (*Conn)(nil)
	_ N.ReaderWithUpstream        = (*Conn)(nil)
	_ N.WriterWithUpstream        = (*Conn)(nil)
	_ interface{ Upstream() any } = (*Conn)(nil)
)

// Conn is the server's side of a stream with Vision. Each direction is replaceable once its padding is
// over: by the stream below, or by the socket when it has left TLS. One goroutine may read while
// another writes.
type Conn struct {
	wire.Conn // the stream below, inside TLS
	outer     Outer
	options   Options

	fmu    sync.Mutex // both directions ask the filter
	filter Filter

	// Of the reading goroutine.
	unpadder Unpadder
	started  bool
	partial  *buf.Buffer // the start of the stream, too short to tell
	held     *buf.Buffer // unread content
	behind   *buf.Buffer // unread, after held
	socket   N.ReadWaiter

	reading, writing atomic.Uint32 // Mode

	wmu  sync.Mutex // held while a block goes out
	uuid []byte     // before the first block; nil after it
}

// NewConn serves the stream conn, which is inside outer. Nothing may read conn but the Conn, nor may
// it hold unread bytes. Closing it closes conn.
func NewConn(conn wire.Conn, outer Outer, o Options) *Conn {
	return &Conn{Conn: conn, outer: outer, options: o, filter: NewFilter(), uuid: o.UUID[:]}
}

// Close closes the connection. When what is written there is not TLS any more, none is added.
func (c *Conn) Close() error {
	if Mode(c.writing.Load()) == ModeDirect {
		return c.outer.NetConn().Close()
	}
	return c.Conn.Close()
}

// CloseWrite ends the writing side, inside TLS or with the socket's own half-close. The error is
// errors.ErrUnsupported when there is none.
func (c *Conn) CloseWrite() error {
	var below net.Conn = c.Conn
	if Mode(c.writing.Load()) == ModeDirect {
		below = c.outer.NetConn()
	}
	if w, ok := below.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Upstream returns the stream below.
func (c *Conn) Upstream() any { return c.Conn }

// UpstreamReader returns what to read from once ReaderReplaceable.
func (c *Conn) UpstreamReader() any { return c.below(&c.reading) }

// UpstreamWriter returns what to write to once WriterReplaceable.
func (c *Conn) UpstreamWriter() any { return c.below(&c.writing) }

func (c *Conn) below(mode *atomic.Uint32) net.Conn {
	if Mode(mode.Load()) == ModeDirect {
		return c.outer.NetConn()
	}
	return c.Conn
}

// ReaderReplaceable says whether reads may go past the Conn. It is for the reading goroutine.
func (c *Conn) ReaderReplaceable() bool {
	return Mode(c.reading.Load()) != ModePadded && c.held == nil && c.behind == nil
}

// WriterReplaceable says whether writes may go past the Conn.
func (c *Conn) WriterReplaceable() bool { return Mode(c.writing.Load()) != ModePadded }

// Read implements io.Reader.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.ReaderReplaceable() {
		return c.below(&c.reading).Read(p)
	}
	b, err := c.WaitReadBuffer()
	if err != nil {
		return 0, err
	}
	n := copy(p, b.Bytes())
	b.Advance(n)
	if b.IsEmpty() {
		b.Release()
	} else {
		c.held, c.behind = b, c.held
	}
	return n, nil
}

// InitializeReadWaiter implements N.ReadWaiter. Buffers have the headroom of Outer's.
func (c *Conn) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

// WaitReadBuffer implements N.ReadWaiter. No buffer is held while it waits.
func (c *Conn) WaitReadBuffer() (*buf.Buffer, error) {
	for {
		if b := c.take(); b != nil {
			return b, nil
		}
		switch Mode(c.reading.Load()) {
		case ModePlain:
			return c.outer.WaitReadBuffer()
		case ModeDirect:
			return c.waitSocket()
		}
		b, err := c.next()
		if err != nil {
			return nil, err
		}
		if err := c.feed(b); err != nil {
			return nil, err
		}
	}
}

// take returns unread content, or nil.
func (c *Conn) take() *buf.Buffer {
	b := c.held
	c.held, c.behind = c.behind, nil
	return b
}

func (c *Conn) waitSocket() (*buf.Buffer, error) {
	if c.socket == nil {
		c.socket = c.options.Waiter(c.outer.NetConn())
	}
	return c.socket.WaitReadBuffer()
}

// next returns a piece of the padded stream.
func (c *Conn) next() (*buf.Buffer, error) {
	if b := c.options.Ahead; b != nil {
		c.options.Ahead = nil
		return b, nil
	}
	b, err := c.outer.WaitRecord()
	if err == io.EOF && c.partial != nil { // less than a uuid is all there is
		b, c.partial = c.partial, nil
		c.started, c.unpadder.mode = true, ModePlain
		return b, nil
	}
	return b, err
}

// feed takes the padding off b, which it owns, and puts what remains into held.
func (c *Conn) feed(b *buf.Buffer) error {
	if !c.started {
		if c.partial != nil {
			b = join(c.partial, b)
			c.partial = nil
		}
		n, err := c.unpadder.Start(b.Bytes(), c.options.UUID)
		if errors.Is(err, ErrShort) {
			c.partial = b
			return nil
		}
		c.started = true
		b.Advance(n)
	}
	n, err := c.unpadder.Unpad(b.Bytes())
	if err != nil {
		b.Release()
		return err
	}
	b.Truncate(n)
	if n > 0 {
		c.held = b
	} else {
		b.Release()
	}
	c.follow(n)
	return nil
}

// follow tells the filter what has come and changes the mode.
func (c *Conn) follow(n int) {
	mode := c.unpadder.Mode()
	c.fmu.Lock()
	if n > 0 {
		c.filter.Up(c.held.Bytes())
	}
	if mode != ModePadded {
		c.filter.UpEnded()
	}
	c.fmu.Unlock()
	if mode == ModeDirect {
		rest := c.outer.Leave()
		if c.held == nil {
			c.held = rest
		} else {
			c.behind = rest
		}
	}
	c.reading.Store(uint32(mode))
	if mode == ModeDirect {
		c.options.Direct(true)
	}
}

// join returns the bytes of a, less than a uuid, before those of b. It owns both.
func join(a, b *buf.Buffer) *buf.Buffer {
	if b.Start() < a.Len() {
		b = wire.Headroom(b, a.Len())
	}
	copy(b.ExtendHeader(a.Len()), a.Bytes())
	a.Release()
	return b
}

// Write implements io.Writer.
func (c *Conn) Write(p []byte) (int, error) {
	if !c.WriterReplaceable() {
		c.wmu.Lock()
		defer c.wmu.Unlock()
	}
	if c.WriterReplaceable() || len(p) == 0 {
		return c.below(&c.writing).Write(p)
	}
	return c.writePadded(p)
}

// WriteBuffer implements N.ExtendedWriter. It owns b.
func (c *Conn) WriteBuffer(b *buf.Buffer) error {
	defer b.Release()
	_, err := c.Write(b.Bytes())
	return err
}

// writePadded sends p in blocks, each a record of its own, and the rest without once the filter says
// so.
func (c *Conn) writePadded(p []byte) (int, error) {
	c.fmu.Lock()
	command, size := c.filter.Down(p)
	long := c.filter.TLS()
	c.fmu.Unlock()
	for at := 0; at < size; {
		n := cut(p[at:size])
		last := CommandContinue
		if at+n == size {
			last = command
		}
		if err := c.writeBlock(last, p[at:at+n], long); err != nil {
			return at, err
		}
		at += n
	}
	switch command {
	case CommandContinue:
		return size, nil
	case CommandEnd:
		c.writing.Store(uint32(ModePlain))
		return size, nil
	}
	c.writing.Store(uint32(ModeDirect))
	c.options.Direct(false)
	if size == len(p) {
		return size, nil
	}
	n, err := c.outer.NetConn().Write(p[size:])
	return size + n, err
}

func (c *Conn) writeBlock(command Command, content []byte, long bool) error {
	padding := c.options.Seed.Padding(len(content), long, c.options.Random)
	b := buf.NewSize(MaxBlock)
	defer b.Release()
	block := AppendBlock(b.FreeBytes()[:0], c.uuid, command, content, padding)
	c.uuid = nil
	if command == CommandDirect {
		return c.outer.WriteLast(block)
	}
	_, err := c.Conn.Write(block)
	return err
}

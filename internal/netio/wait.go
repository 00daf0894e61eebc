package netio

import (
	"io"
	"net"
	"syscall"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"
)

// NewWaiter returns the best way to wait for data of r without holding a buffer: r's own, the raw
// socket's, else a reader that holds 2 KiB while it waits. Replaceable wrappers are looked through.
// The buffers it returns are for Put.
func NewWaiter(r io.Reader) N.ReadWaiter {
	for {
		if w, ok := r.(N.ReadWaiter); ok {
			w.InitializeReadWaiter(Room)
			return w
		}
		if c, ok := r.(*net.TCPConn); ok {
			if raw, err := c.SyscallConn(); err == nil {
				return &socketWaiter{raw: raw}
			}
		}
		inner, ok := upstreamReader(r)
		if !ok {
			return &plainWaiter{r: r, size: smallRead}
		}
		r = inner
	}
}

// upstreamReader steps through one wrapper that says it may be skipped.
func upstreamReader(r io.Reader) (io.Reader, bool) {
	if u, ok := r.(N.ReaderWithUpstream); !ok || !u.ReaderReplaceable() {
		return nil, false
	}
	switch u := r.(type) {
	case N.WithUpstreamReader:
		inner, ok := u.UpstreamReader().(io.Reader)
		return inner, ok
	case interface{ Upstream() any }:
		inner, ok := u.Upstream().(io.Reader)
		return inner, ok
	}
	return nil, false
}

// socketWaiter takes its buffer inside the poller's callback: at EAGAIN it goes back to the pool.
type socketWaiter struct {
	raw  syscall.RawConn
	fill func(fd uintptr) bool
	buf  *buf.Buffer
	err  error
	bulk bool // a full read is followed by one of PacketSize
	full bool // the last read filled BufferSize
}

func (w *socketWaiter) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

func (w *socketWaiter) WaitReadBuffer() (*buf.Buffer, error) {
	if w.fill == nil {
		w.fill = w.read
	}
	w.buf, w.err = nil, nil
	if err := w.raw.Read(w.fill); err != nil {
		Put(w.buf)
		return nil, err
	}
	b := w.buf
	w.buf = nil
	return b, w.err
}

func (w *socketWaiter) read(fd uintptr) bool {
	lend := Get
	if w.bulk && w.full {
		lend = GetPacket
	}
	b := lend()
	for {
		n, err := syscall.Read(int(fd), b.FreeBytes())
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			Put(b)
			return false
		case err != nil:
			w.err = &net.OpError{Op: "read", Net: "tcp", Err: err}
		case n == 0:
			w.err = io.EOF
		default:
			w.full = n >= BufferSize
			b.Truncate(n)
			w.buf = Filled(b)
			return true
		}
		Put(b)
		return true
	}
}

// BulkWriter is a writer to which each Write costs a hand-over between goroutines: it gets chunks of up
// to PacketSize while much is there, and nobody paces.
type BulkWriter interface{ PrefersBulk() }

// smallRead is what a reader that cannot wait without a buffer holds while idle.
const smallRead = 2 << 10

// plainWaiter serves readers that cannot wait: 2 KiB while idle, the whole buffer once a read filled
// that, back to 2 KiB after a short read.
type plainWaiter struct {
	r    io.Reader
	size int
}

func (w *plainWaiter) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

func (w *plainWaiter) WaitReadBuffer() (*buf.Buffer, error) {
	b := GetSmall()
	if w.size > smallRead {
		Put(b)
		b = Get()
	}
	n, err := w.read(b.FreeBytes())
	if n == 0 {
		Put(b)
		return nil, err
	}
	// An error that came with data comes again with the next read.
	if n == b.FreeLen() {
		w.size = BufferSize
	} else if n < smallRead {
		w.size = smallRead
	}
	b.Truncate(n)
	return Filled(b), nil
}

// maxEmpty bounds the reads in a row that bring neither a byte nor an error, as bufio does.
const maxEmpty = 100

// read brings a byte or an error, which io.Reader alone does not promise.
func (w *plainWaiter) read(p []byte) (int, error) {
	for range maxEmpty {
		if n, err := w.r.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

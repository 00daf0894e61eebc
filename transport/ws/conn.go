package ws

import (
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/netio"
	"heki/transport/internal/web"
)

// Conn is one end of a WebSocket connection: a stream of bytes in frames. It holds no buffer while it
// waits. One goroutine may read while another writes; deadlines are the socket's.
//
// WebSocket has no half-close. CloseWrite therefore sends a Close frame, because the client's side
// must learn that nothing more comes, and reading goes on. What clients make of that frame: sing-box
// answers with a Close, passes EOF on and may go on sending data; Xray stops sending, and drops what
// it has received but not handed on yet. So the frame waits until the client has sent nothing for
// closeDelay, closeDelay*closeTries at most, and a Close of the client that answers ours does not end
// reading: only the socket's end does.
type Conn struct {
	net.Conn
	client bool // this is the client's end: it masks
	waiter N.ReadWaiter
	dec    decoder
	early  []byte // unread early data
	err    error  // final, of reading
	reads  atomic.Uint32
	closed atomic.Bool
	pings  pingBudget

	wmu       sync.Mutex  // one frame at a time
	sentClose atomic.Bool // set under wmu, before the frame goes out
	finished  bool        // CloseWrite was called
	farewell  web.Farewell

	// Answers that wait for the writer. A reader never waits for a lock that is held while writing.
	amu    sync.Mutex
	answer [maxControl]byte
	pong   int // length of the payload in answer, -1 when none waits
	reply  int // close code, 0 when none waits
}

var (
	_ N.ReadWaiter     = (*Conn)(nil)
	_ N.ExtendedWriter = (*Conn)(nil)
)

func newConn(c net.Conn, early []byte) *Conn {
	return &Conn{Conn: c, waiter: netio.NewWaiter(c), early: early, pong: -1}
}

// InitializeReadWaiter implements N.ReadWaiter.
func (c *Conn) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

// WaitReadBuffer implements N.ReadWaiter. The buffer, the caller's for netio.Put, is the one that the
// frames were read into.
func (c *Conn) WaitReadBuffer() (*buf.Buffer, error) {
	if len(c.early) > 0 {
		b := netio.Get()
		n, _ := b.Write(c.early)
		c.useEarly(n)
		return netio.Filled(b), nil
	}
	for c.err == nil {
		b, err := c.waiter.WaitReadBuffer()
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
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.useEarly(n)
		return n, nil
	}
	for c.err == nil {
		m, err := c.Conn.Read(p)
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

func (c *Conn) useEarly(n int) {
	if c.early = c.early[n:]; len(c.early) == 0 {
		c.early = nil
	}
}

// note makes an end inside a frame an error. Timeouts are not final, nor are other errors of the
// socket, which says them again.
func (c *Conn) note(err error) error {
	if err == io.EOF && c.dec.partial() {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// decode works through b and leaves the payload of all frames in it at b[start:start+n]. What ends
// the stream is left in c.err.
func (c *Conn) decode(b []byte) (start, n int) {
	at := 0
	for at < len(b) && c.err == nil {
		m, found, data, err := c.dec.next(b[at:])
		at += m
		switch {
		case err != nil:
			c.err = err
			c.answerClose(codeProtocol)
		case found == eventData && n == 0:
			start, n = at-len(data), len(data)
		case found == eventData:
			n += copy(b[start+n:], data)
		case found == eventPing:
			c.answerPing(data)
		case found == eventClose:
			c.peerClosed(closeCode(data))
		}
	}
	if n > 0 {
		c.reads.Add(1)
	}
	return start, n
}

// peerClosed ends reading, unless the Close answers ours: see Conn.
func (c *Conn) peerClosed(code int) {
	if c.answerClose(code) {
		c.err = io.EOF
	}
}

package h2

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"
	"golang.org/x/net/http2/hpack"

	"heki/internal/netio"
	"heki/transport/internal/http1"
)

// conn is one connection, of either side. run reads it; streams write it.
//
// Locks, in the order in which they may be taken: wmu, mu, a stream's rmu, cmu. The reader takes none
// that is held while writing, because two peers that wait for each other to read would wait for ever.
type conn struct {
	sock   net.Conn
	waiter N.ReadWaiter
	client bool
	// onHead takes a header block of a stream: a request, or an answer. It runs in the reader.
	onHead        func(id uint32, m *Message) error
	initialWindow int32 // of streams, for the peer
	idle          time.Duration

	reader
	wg sync.WaitGroup // goroutines that the reader starts

	moved  atomic.Int64 // bytes of data, both ways
	frames atomic.Uint32
	growth atomic.Int64 // what windows may still grow by
	trust  atomic.Int32 // streams that proved to be users'

	mu          sync.Mutex
	streams     map[uint32]*Stream
	handlers    int    // that run, for streams that may be gone
	last        uint32 // highest stream of the peer
	next        uint32 // of ours
	sendWindow  int64
	peerWindow  int32 // of new streams
	peerFrame   int
	peerStreams uint32
	ready       bool // the peer's settings are known
	going       bool // no new streams: GOAWAY was sent or received
	leaving     bool // the reader is to end
	established bool
	err         error // why the connection is over

	wmu        sync.Mutex // writing to sock
	tableKnown bool       // the peer was told to keep no HPACK table

	cmu      sync.Mutex
	control  []byte // frames that wait for whoever holds wmu
	spare    []byte // the memory of those that were taken last
	flushing bool
	stalled  bool  // a write has a deadline
	cause    error // why we closed the socket
	over     bool  // nothing is sent any more
}

// reader is what only the reading goroutine touches.
type reader struct {
	head    [frameHeader]byte
	headLen int
	frame   header
	remain  int     // payload of frame that has not come
	pad     int     // padding at its end; -1: the length of it is next
	target  *Stream // of DATA; nil: it is dropped
	woken   *Stream // has new data and was not told
	partial []byte  // payload of a frame that is not DATA

	hpack      *hpack.Decoder
	block      []byte // a header block that is not complete
	blockID    uint32 // its stream; 0: none
	blockFlags byte
	blockCount int

	begun    bool  // SETTINGS came
	fuss     int64 // see limits.go
	start    time.Time
	received int64 // of the connection's window
	pages    int
}

func newConn(sock net.Conn, client bool, idle time.Duration) *conn {
	c := &conn{
		sock: sock, waiter: netio.NewWaiter(sock), client: client, idle: idle,
		initialWindow: serverWindow,
		streams:       make(map[uint32]*Stream),
		sendWindow:    windowDefault, peerWindow: windowDefault, peerFrame: maxFrame, peerStreams: 100,
	}
	c.growth.Store(growth)
	c.start = time.Now()
	if client {
		c.next, c.initialWindow, c.established = 1, clientWindow, true
	}
	return c
}

// hello appends what opens the connection.
func (c *conn) hello(b []byte) []byte {
	if c.client {
		b = append(b, Preface...)
		b = appendSettings(b, setting{settingPush, 0}, setting{settingWindow, clientWindow})
	} else {
		b = appendSettings(b, setting{settingMaxStreams, maxStreams}, setting{settingWindow, serverWindow}, setting{settingMaxFrame, maxFrame})
	}
	return appendWord(b, frameWindow, 0, connWindow-windowDefault)
}

// run reads until the connection is over, and says why. It leaves no stream open; handlers may still
// be running.
func (c *conn) run() error {
	for {
		b, err := c.waiter.WaitReadBuffer()
		if err == nil {
			err = c.feed(b)
			netio.Put(b)
		} else {
			err = c.quiet(err)
		}
		if err != nil {
			c.cmu.Lock()
			if c.cause != nil {
				err = c.cause
			}
			c.cmu.Unlock()
			c.end(err)
			return err
		}
	}
}

// errIdle ends a connection without streams.
var errIdle = errors.New("no stream for too long")

// quiet looks at an error of reading: the end of a deadline may be that of being idle.
func (c *conn) quiet(err error) error {
	var ne net.Error
	if !errors.As(err, &ne) || !ne.Timeout() {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.established || c.leaving || len(c.streams) > 0 {
		if c.established && !c.leaving { // a stream came just now
			return c.sock.SetReadDeadline(time.Time{})
		}
		return err
	}
	c.going = true
	return errIdle
}

// establish is called once a stream has proved to be a user's: the deadline that the connection came
// with is over.
func (c *conn) establish() {
	c.trust.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.established || c.err != nil {
		return
	}
	c.established = true
	_ = c.sock.SetDeadline(time.Time{})
	c.restLocked()
}

// restLocked starts or ends the time that a connection may be without streams.
func (c *conn) restLocked() {
	if !c.established || c.leaving {
		return
	}
	switch len(c.streams) {
	case 0:
		_ = c.sock.SetReadDeadline(time.Now().Add(c.idle))
	case 1:
		_ = c.sock.SetReadDeadline(time.Time{})
	}
}

// end ends all streams and closes the connection.
func (c *conn) end(err error) {
	c.mu.Lock()
	c.err = err
	streams := make([]*Stream, 0, len(c.streams))
	for _, s := range c.streams {
		streams = append(streams, s)
	}
	last := c.last
	c.mu.Unlock()
	c.cmu.Lock()
	c.over = true
	c.cmu.Unlock()
	for _, s := range streams {
		s.abort(err)
	}
	if c.goAway(err, last) && !c.client {
		http1.Linger(c.sock) // else the GOAWAY may be lost
	}
	_ = c.sock.Close()
}

// goAway tells the peer why the connection ends, if that is news and the peer reads.
func (c *conn) goAway(err error, last uint32) bool {
	var broken *connError
	code, say := codeNone, errors.Is(err, errIdle) || errors.Is(err, net.ErrClosed)
	if errors.As(err, &broken) {
		code, say = broken.code, true
	}
	if !say || c.sock.SetWriteDeadline(time.Now().Add(goAwayTime)) != nil { // whoever writes ends too
		return false
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	_, err = c.sock.Write(appendGoAway(nil, last, code))
	return err == nil
}

// queue lets frames go out behind what is being written. It never blocks, and ends the connection
// when the peer does not read its answers.
func (c *conn) queue(frames []byte) {
	c.cmu.Lock()
	defer c.cmu.Unlock()
	c.control = append(c.control, frames...)
	c.checkControlLocked()
}

// queueWord is queue for a frame of appendWord.
func (c *conn) queueWord(typ byte, stream, word uint32) {
	c.cmu.Lock()
	defer c.cmu.Unlock()
	c.control = appendWord(c.control, typ, stream, word)
	c.checkControlLocked()
}

func (c *conn) checkControlLocked() {
	if len(c.control) > maxControl {
		c.control, c.cause = nil, bad(codeCalm, "answers are not read")
		_ = c.sock.Close() // wakes the reader, which ends the connection
	}
}

// take returns the frames that wait, for whoever holds wmu and until it is called again.
func (c *conn) take() []byte {
	c.cmu.Lock()
	defer c.cmu.Unlock()
	b := c.control
	c.control, c.spare = c.spare[:0], b
	if c.stalled && !c.over {
		c.stalled = false
		_ = c.sock.SetWriteDeadline(time.Time{})
	}
	if cap(b) > keepControl {
		c.spare = nil
	}
	return b
}

func (c *conn) waiting() bool {
	c.cmu.Lock()
	defer c.cmu.Unlock()
	return len(c.control) > 0
}

// flush sends what waits, unless someone writes: that one does it afterwards.
func (c *conn) flush() {
	for c.waiting() && c.wmu.TryLock() {
		_ = c.writeLocked(nil) // the reader sees the same failure
		c.wmu.Unlock()
	}
}

// flushSoon is flush for the reader and for those who must not wait for the peer.
func (c *conn) flushSoon() {
	c.cmu.Lock()
	defer c.cmu.Unlock()
	if c.flushing || c.over || len(c.control) == 0 {
		return
	}
	c.flushing = true
	c.wg.Go(func() {
		c.cmu.Lock()
		c.flushing = false
		c.cmu.Unlock()
		c.flush()
	})
}

// writeLocked sends the frames that wait, and then b.
func (c *conn) writeLocked(b []byte) error {
	if frames := c.take(); len(frames) > 0 {
		if len(b) == 0 {
			b = frames
		} else if _, err := c.sock.Write(frames); err != nil {
			return c.broken(err)
		}
	}
	if len(b) == 0 {
		return nil
	}
	_, err := c.sock.Write(b)
	return c.broken(err)
}

// broken ends the connection: after half a frame nothing can follow.
func (c *conn) broken(err error) error {
	if err != nil {
		_ = c.sock.Close() // wakes the reader, which ends the connection
	}
	return err
}

// stall bounds the time that a write may go on for a stream that is closed.
func (c *conn) stall() {
	c.cmu.Lock()
	defer c.cmu.Unlock()
	if !c.stalled && !c.over {
		c.stalled = c.sock.SetWriteDeadline(time.Now().Add(stallTime)) == nil
	}
}

// remove forgets a stream.
func (c *conn) remove(s *Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[s.id] == s {
		delete(c.streams, s.id)
		c.restLocked()
	}
}

// feed takes apart what was read.
func (c *conn) feed(b *buf.Buffer) error {
	c.frames.Add(1)
	err := c.parse(b.Bytes())
	c.wake(nil)
	c.flushSoon()
	return err
}

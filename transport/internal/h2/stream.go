package h2

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/netio"
)

// Stream is one stream of bytes: the body of a request one way, that of its answer the other. It holds
// no buffer while it waits. One goroutine may read while another writes; deadlines, CloseWrite and
// Close may come from anywhere.
type Stream struct {
	c  *conn
	id uint32

	// trailers is the header block that ends our side; nil: none does.
	trailers []byte

	// Under c.mu.
	writable   sync.Cond
	sendWindow int64
	werr       error // final, of writing
	wexpired   bool
	wtimer     *time.Timer
	wage       uint // counts deadlines
	writing    bool // a write is under way
	ended      bool // our side was ended, or is about to
	trusted    bool
	closed     bool
	gone       atomic.Bool // nothing may be sent any more

	rmu      sync.Mutex // guards what follows
	arrived  sync.Cond
	queue    []*buf.Buffer
	rerr     error // what comes after the queue
	rexpired bool
	rtimer   *time.Timer
	rage     uint
	window   int32 // what the peer may still send
	size     int32 // of the window when all is used
	spent    int32 // used and not given back
	grown    int32 // taken from c.growth
	answered bool  // of a dialer: the head of the answer came
	expect   func(m *Message, trailers bool) error
}

var (
	_ N.ReadWaiter     = (*Stream)(nil)
	_ N.ExtendedWriter = (*Stream)(nil)
)

func newStream(c *conn, id uint32) *Stream {
	s := &Stream{c: c, id: id, window: c.initialWindow, size: c.initialWindow}
	s.writable.L, s.arrived.L = &c.mu, &s.rmu
	return s
}

// LocalAddr implements net.Conn: it is the connection's.
func (s *Stream) LocalAddr() net.Addr { return s.c.sock.LocalAddr() }

// RemoteAddr implements net.Conn: it is the connection's.
func (s *Stream) RemoteAddr() net.Addr { return s.c.sock.RemoteAddr() }

// charge takes n bytes that the peer sends off its window; false when it may not.
func (s *Stream) charge(n int) bool {
	s.rmu.Lock()
	defer s.rmu.Unlock()
	if int32(n) > s.window {
		return false
	}
	s.window -= int32(n)
	return true
}

// littleData fits a small buffer.
const littleData = 1 << 10

// push takes data from the reader, which tells of it with readable.
func (s *Stream) push(p []byte) {
	s.rmu.Lock()
	defer s.rmu.Unlock()
	if s.rerr != nil { // closed: nobody reads
		return
	}
	for len(p) > 0 {
		switch n := len(s.queue); {
		case n == 0 && len(p) <= littleData: // many streams may wait for the rest of a header
			s.queue = append(s.queue, netio.GetSmall())
		case n == 0 || s.queue[n-1].IsFull():
			s.queue = append(s.queue, netio.Get())
		}
		n, _ := s.queue[len(s.queue)-1].Write(p)
		p = p[n:]
	}
}

func (s *Stream) readable() {
	s.rmu.Lock()
	defer s.rmu.Unlock()
	s.arrived.Broadcast()
}

// finishRead ends the peer's side: err, or io.EOF, comes after what has arrived.
func (s *Stream) finishRead(err error) {
	if err == nil {
		err = io.EOF
	}
	s.rmu.Lock()
	defer s.rmu.Unlock()
	if s.rerr == nil {
		s.rerr = err
	}
	s.arrived.Broadcast()
}

// awaitLocked blocks until there is data.
func (s *Stream) awaitLocked() error {
	for len(s.queue) == 0 {
		if s.rexpired {
			return os.ErrDeadlineExceeded
		}
		if s.rerr != nil {
			return s.rerr
		}
		s.arrived.Wait()
	}
	if s.rexpired {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// InitializeReadWaiter implements N.ReadWaiter.
func (s *Stream) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

// WaitReadBuffer implements N.ReadWaiter: the buffer, the caller's for netio.Put, is the one in which
// the data has waited.
func (s *Stream) WaitReadBuffer() (*buf.Buffer, error) {
	s.rmu.Lock()
	if err := s.awaitLocked(); err != nil {
		s.rmu.Unlock()
		return nil, err
	}
	b := s.queue[0]
	n := copy(s.queue, s.queue[1:])
	s.queue[n] = nil
	s.queue = s.queue[:n]
	s.rmu.Unlock()
	s.used(b.Len())
	return netio.Filled(b), nil
}

// Read implements io.Reader.
func (s *Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.rmu.Lock()
	if err := s.awaitLocked(); err != nil {
		s.rmu.Unlock()
		return 0, err
	}
	b := s.queue[0]
	n := copy(p, b.Bytes())
	b.Advance(n)
	if b.IsEmpty() {
		m := copy(s.queue, s.queue[1:])
		s.queue[m] = nil
		s.queue = s.queue[:m]
		netio.Put(b)
	}
	s.rmu.Unlock()
	s.used(n)
	return n, nil
}

// used lets the peer send n bytes more.
func (s *Stream) used(n int) {
	if s.grant(n) {
		s.c.flush()
	}
}

// grant queues the right to send n bytes more, in steps of half a window, and says whether it was time
// for one. A window that was used up as fast as it came is doubled: then it may be what limits the speed.
func (s *Stream) grant(n int) bool {
	s.rmu.Lock()
	s.spent += int32(n)
	if s.spent < s.size/2 || s.rerr != nil {
		s.rmu.Unlock()
		return false
	}
	more := s.spent
	s.spent = 0
	if step := s.size; len(s.queue) == 0 && s.size < streamWindow {
		if s.c.growth.Add(-int64(step)) >= 0 {
			s.size += step
			s.grown += step
			more += step
		} else {
			s.c.growth.Add(int64(step))
		}
	}
	s.window += more
	s.rmu.Unlock()
	s.c.queueWord(frameWindow, s.id, uint32(more))
	return true
}

// resetByPeer ends both sides.
func (s *Stream) resetByPeer(code Code) {
	s.c.remove(s)
	s.abort(&ResetError{code})
}

// resetByUs ends both sides and tells the peer.
func (s *Stream) resetByUs(code Code) {
	s.c.queueWord(frameReset, s.id, uint32(code))
	s.c.flushSoon()
	s.c.remove(s)
	s.abort(net.ErrClosed)
}

// abort ends both sides with err. What has arrived stays readable, unless we have closed.
func (s *Stream) abort(err error) {
	s.c.mu.Lock()
	if s.werr == nil {
		s.werr = err
	}
	s.ended = true
	s.writable.Broadcast()
	s.c.mu.Unlock()
	s.finishRead(err)
}

// Close ends the stream: normally, when our side was or can be ended between two writes and the peer
// has finished; else it is reset.
func (s *Stream) Close() error {
	c := s.c
	c.mu.Lock()
	if s.closed {
		c.mu.Unlock()
		return net.ErrClosed
	}
	s.closed = true
	ended, writing := s.ended, s.writing
	s.ended = true
	if s.werr == nil {
		s.werr = net.ErrClosed
	}
	stopTimer(s.wtimer)
	s.writable.Broadcast()
	alive := c.streams[s.id] == s && c.err == nil
	c.mu.Unlock()
	finished := s.drop()
	if alive {
		s.sayEnd(ended, writing, finished)
		c.remove(s)
	}
	return nil
}

// drop gives up what was not read, and says whether the peer has finished.
func (s *Stream) drop() (finished bool) {
	s.rmu.Lock()
	defer s.rmu.Unlock()
	for _, b := range s.queue {
		netio.Put(b)
	}
	s.queue = nil
	finished = s.rerr != nil
	if s.rerr == nil || s.rerr == io.EOF {
		s.rerr = net.ErrClosed
	}
	s.c.growth.Add(int64(s.grown))
	s.grown = 0
	stopTimer(s.rtimer)
	s.arrived.Broadcast()
	return finished
}

// sayEnd tells the peer of a Close.
func (s *Stream) sayEnd(ended, writing, finished bool) {
	c := s.c
	switch {
	case writing:
		s.gone.Store(true)
		c.queueWord(frameReset, s.id, uint32(codeCancel))
		c.stall()
	case c.client && !finished:
		c.queueWord(frameReset, s.id, uint32(codeCancel))
	default:
		if !ended {
			c.queue(s.appendEnd(nil))
		}
		if !finished { // RFC 9113 §8.1: the answer is complete, the rest of the request is not wanted
			c.queueWord(frameReset, s.id, uint32(codeNone))
		}
	}
	c.flushSoon()
}

// appendEnd writes the frame that ends our side.
func (s *Stream) appendEnd(b []byte) []byte {
	if s.trailers == nil {
		return appendHeader(b, 0, frameData, flagEnd, s.id)
	}
	return appendHeaders(b, s.id, flagEnd, s.trailers)
}

// CloseWrite ends our side: the peer reads EOF and may go on sending.
func (s *Stream) CloseWrite() error {
	c := s.c
	c.mu.Lock()
	if s.ended || s.werr != nil {
		c.mu.Unlock()
		return nil
	}
	s.ended = true
	c.mu.Unlock()
	c.queue(s.appendEnd(nil))
	c.flush()
	return nil
}

// SetDeadline implements net.Conn. Without one, it says that the stream is a user's: the connection
// may then outlive the deadline that it came with.
func (s *Stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (s *Stream) SetReadDeadline(t time.Time) error {
	s.rmu.Lock()
	stopTimer(s.rtimer)
	s.rage++
	s.rtimer, s.rexpired = nil, false
	if !t.IsZero() && !errors.Is(s.rerr, net.ErrClosed) {
		age := s.rage
		s.rtimer = time.AfterFunc(time.Until(t), func() {
			s.rmu.Lock()
			defer s.rmu.Unlock()
			if s.rage == age {
				s.rexpired = true
				s.arrived.Broadcast()
			}
		})
	}
	s.rmu.Unlock()
	if t.IsZero() {
		s.trust()
	}
	return nil
}

// SetWriteDeadline implements net.Conn. It does not reach a write that the socket has begun.
func (s *Stream) SetWriteDeadline(t time.Time) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	stopTimer(s.wtimer)
	s.wage++
	s.wtimer, s.wexpired = nil, false
	if !t.IsZero() && !s.closed {
		age := s.wage
		s.wtimer = time.AfterFunc(time.Until(t), func() {
			s.c.mu.Lock()
			defer s.c.mu.Unlock()
			if s.wage == age {
				s.wexpired = true
				s.writable.Broadcast()
			}
		})
	}
	return nil
}

func stopTimer(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
}

// trust notes that the stream is a user's.
func (s *Stream) trust() {
	s.c.mu.Lock()
	first := !s.trusted && !s.c.client
	s.trusted = true
	s.c.mu.Unlock()
	if first {
		s.c.establish()
	}
}

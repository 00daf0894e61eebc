package muxio

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"heki/internal/protocol/wire"
)

// ErrClosed is what reading and writing a stream return when its connection went away.
var ErrClosed = errors.New("mux connection is gone")

// Outbox shares the writing side of a connection between streams: whole frames, one write at a time.
type Outbox struct {
	conn  wire.Conn
	limit int           // bytes of small frames that may wait
	busy  chan struct{} // full while a frame is on its way
	done  chan struct{} // closed with the connection

	mu       sync.Mutex
	closed   bool
	flushing bool           // a goroutine sends pending
	pending  []byte         // small frames that it has not taken yet
	wg       sync.WaitGroup // that goroutine
}

// NewOutbox writes to conn. limit is how many bytes of Queue a client may leave unread.
func NewOutbox(conn wire.Conn, limit int) *Outbox {
	return &Outbox{conn: conn, limit: limit, busy: make(chan struct{}, 1), done: make(chan struct{})}
}

// Link is the place of a stream on a connection. Nothing is sent through it once it is cut.
type Link struct {
	out     *Outbox
	cut     chan struct{}
	once    sync.Once
	writing atomic.Bool // a frame is on its way
}

// Init prepares the link.
func (l *Link) Init(o *Outbox) { l.out, l.cut = o, make(chan struct{}) }

// Sever cuts the link. A frame on its way cannot be called back; when the client does not take it for
// StuckTimeout the connection is closed, or its writer would be held for as long as the client likes.
func (l *Link) Sever() {
	l.once.Do(func() {
		close(l.cut)
		if !l.writing.Load() {
			return
		}
		time.AfterFunc(StuckTimeout, func() {
			if l.writing.Load() {
				_ = l.out.conn.Close()
			}
		})
	})
}

// Send writes whole frames. It waits for its turn until the deadline, and gives up with
// io.ErrClosedPipe when the link is cut.
func (l *Link) Send(frames []byte, d *wire.Deadline) error {
	if d.Over() {
		return os.ErrDeadlineExceeded
	}
	if err := l.out.acquire(l.cut, d); err != nil {
		return err
	}
	defer l.out.release()
	l.writing.Store(true) // before the look at cut: Sever does these two the other way round
	defer l.writing.Store(false)
	select {
	case <-l.cut: // nothing follows the end
		return io.ErrClosedPipe
	default:
	}
	return l.out.write(frames)
}

// acquire waits for the turn of a frame.
func (o *Outbox) acquire(cut <-chan struct{}, d *wire.Deadline) error {
	select {
	case o.busy <- struct{}{}:
		return nil
	default:
	}
	select {
	case o.busy <- struct{}{}:
		return nil
	case <-cut:
		return io.ErrClosedPipe
	case <-o.done:
		return ErrClosed
	case <-d.Done():
		return os.ErrDeadlineExceeded
	}
}

func (o *Outbox) release() { <-o.busy }

// write sends whole frames. An error is the end of the connection: the client cannot tell where the
// next frame starts.
func (o *Outbox) write(frames []byte) error {
	_, err := o.conn.Write(frames)
	if err != nil {
		_ = o.conn.Close()
	}
	return err
}

// Queue sends small whole frames without waiting: closing a stream must not depend on the client
// reading. It keeps no reference to frames.
func (o *Outbox) Queue(frames []byte) {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return
	}
	over := len(o.pending)+len(frames) > o.limit
	if !over {
		o.pending = append(o.pending, frames...)
	}
	if !o.flushing {
		o.flushing = true
		o.wg.Go(o.flush)
	}
	o.mu.Unlock()
	if over { // it sends, but does not read
		_ = o.conn.Close()
	}
}

// flush sends what is pending, as much as there is in one write.
func (o *Outbox) flush() {
	var never wire.Deadline
	for {
		o.mu.Lock()
		frames := o.pending
		o.pending = nil
		if len(frames) == 0 || o.closed {
			o.flushing = false
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		if o.acquire(nil, &never) != nil {
			continue // the connection is gone: closed is set, or about to be
		}
		_ = o.write(frames)
		o.release()
	}
}

// Flushed waits until what was queued is written, at most for d.
func (o *Outbox) Flushed(d time.Duration) {
	timer := time.AfterFunc(d, func() { _ = o.conn.Close() })
	defer timer.Stop()
	o.wg.Wait()
}

// Close closes the connection and makes every waiting Send fail.
func (o *Outbox) Close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	close(o.done)
	_ = o.conn.Close()
}

// Wait returns once nothing of Queue is on its way. Call it after Close.
func (o *Outbox) Wait() { o.wg.Wait() }

package muxcool

import (
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"heki/internal/protocol/wire"
)

// writer shares the connection between streams: one frame at a time, each in one write.
type writer struct {
	conn wire.Conn
	busy chan struct{} // full while a frame is on its way
	done chan struct{} // closed with the connection

	mu       sync.Mutex
	closed   bool
	flushing bool           // a goroutine sends ends
	ends     []Frame        // what it has not taken yet
	wg       sync.WaitGroup // that goroutine
}

func newWriter(conn wire.Conn) *writer {
	return &writer{conn: conn, busy: make(chan struct{}, 1), done: make(chan struct{})}
}

// link is the place of a session on a connection. Nothing is sent through it once it is cut.
type link struct {
	s       *server
	id      uint16
	cut     chan struct{}
	once    sync.Once
	writing atomic.Bool // a frame is on its way
}

func newLink(s *server, id uint16) *link {
	return &link{s: s, id: id, cut: make(chan struct{})}
}

// sever cuts the link. A frame on its way cannot be called back; when the client does not take it for
// stuckTimeout the connection is closed, or its writer would be held for as long as the client likes.
func (l *link) sever() {
	l.once.Do(func() {
		close(l.cut)
		if !l.writing.Load() {
			return
		}
		time.AfterFunc(stuckTimeout, func() {
			if l.writing.Load() {
				_ = l.s.conn.Close()
			}
		})
	})
}

// send writes one whole frame. It waits for its turn until the deadline, and gives up with
// io.ErrClosedPipe when the link is cut.
func (l *link) send(frame []byte, d *wire.Deadline) error {
	if d.Over() {
		return os.ErrDeadlineExceeded
	}
	if err := l.s.out.acquire(l.cut, d); err != nil {
		return err
	}
	defer l.s.out.release()
	l.writing.Store(true) // before the look at cut: sever does these two the other way round
	defer l.writing.Store(false)
	select {
	case <-l.cut: // nothing follows the End
		return io.ErrClosedPipe
	default:
	}
	return l.s.out.write(frame)
}

// acquire waits for the turn of a frame.
func (w *writer) acquire(cut <-chan struct{}, d *wire.Deadline) error {
	select {
	case w.busy <- struct{}{}:
		return nil
	default:
	}
	select {
	case w.busy <- struct{}{}:
		return nil
	case <-cut:
		return io.ErrClosedPipe
	case <-w.done:
		return ErrClosed
	case <-d.Done():
		return os.ErrDeadlineExceeded
	}
}

func (w *writer) release() { <-w.busy }

// write sends whole frames. An error is the end of the connection: the client cannot tell where the
// next frame starts.
func (w *writer) write(frames []byte) error {
	_, err := w.conn.Write(frames)
	if err != nil {
		_ = w.conn.Close()
	}
	return err
}

// end sends an End for id without waiting: closing a stream must not depend on the client reading.
func (w *writer) end(id uint16, failed bool) {
	f := Frame{ID: id, Status: StatusEnd}
	if failed {
		f.Option = OptionError
	}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return
	}
	over := len(w.ends) >= maxEnds
	if !over {
		w.ends = append(w.ends, f)
	}
	if !w.flushing {
		w.flushing = true
		w.wg.Go(w.flush)
	}
	w.mu.Unlock()
	if over { // it sends, but does not read
		_ = w.conn.Close()
	}
}

// flush sends the ends, as many as there are in one write.
func (w *writer) flush() {
	var never wire.Deadline
	var out []byte
	for {
		w.mu.Lock()
		ends := w.ends
		w.ends = nil
		if len(ends) == 0 || w.closed {
			w.flushing = false
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		out = out[:0]
		for _, f := range ends {
			out = AppendFrame(out, f)
		}
		if w.acquire(nil, &never) != nil {
			continue // the connection is gone: closed is set, or about to be
		}
		_ = w.write(out)
		w.release()
	}
}

// close makes every waiting send fail. The connection must be closed before or after.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	close(w.done)
}

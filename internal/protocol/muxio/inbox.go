package muxio

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
)

// Errors of Reserve.
var (
	// ErrUnread says that nobody will read the payload: drop it.
	ErrUnread = errors.New("nobody reads the stream")
	// ErrStalled says that the reader made no room for StallTimeout.
	ErrStalled = errors.New("the reader of the stream stands still")
)

// Inbox holds what the connection's reading goroutine has for one stream until the stream's reader
// takes it. It is bounded by StreamQueue, and all of a connection by TotalQueue. Call Init first.
type Inbox struct {
	total    *atomic.Int64
	deadline *wire.Deadline
	ready    chan struct{} // there is something to read, or the end
	room     chan struct{} // something was read, or the end

	mu      sync.Mutex
	queue   Fifo[*buf.Buffer]
	size    int   // what queue costs in bytes
	err     error // what reading returns once queue is empty; nil while it may grow
	closed  bool
	options N.ReadWaitOptions
}

// Init prepares the inbox. total counts what is queued on the whole connection, deadline is the one for
// reading.
func (in *Inbox) Init(total *atomic.Int64, deadline *wire.Deadline) {
	in.total, in.deadline = total, deadline
	in.ready, in.room = make(chan struct{}, 1), make(chan struct{}, 1)
}

// Reserve returns a buffer for length bytes, for Put, once the queue has room for them. It is for the
// connection's reading goroutine. gone ends the wait with ErrUnread.
func (in *Inbox) Reserve(length int, gone <-chan struct{}) (*buf.Buffer, error) {
	var stalled <-chan time.Time
	for {
		in.mu.Lock()
		if in.closed || in.err != nil {
			in.mu.Unlock()
			return nil, ErrUnread
		}
		behind := in.size > 0
		fits := in.size+length <= StreamQueue && in.total.Load() <= TotalQueue
		if !behind || fits { // one frame always fits, or a stream would wait for the others
			options := in.options
			in.mu.Unlock()
			if behind {
				length = max(length, Coalesce-options.FrontHeadroom-options.RearHeadroom)
			}
			return wire.NewBuffer(length, options), nil
		}
		in.mu.Unlock()
		if stalled == nil {
			timer := time.NewTimer(StallTimeout)
			defer timer.Stop()
			stalled = timer.C
		}
		select {
		case <-in.room:
		case <-gone:
			return nil, ErrUnread
		case <-stalled:
			return nil, ErrStalled
		}
	}
}

// Put appends b to the queue, or its bytes to the last buffer there. It owns b.
func (in *Inbox) Put(b *buf.Buffer) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed || in.err != nil {
		b.Release()
		return
	}
	if last := in.queue.Last(); last != nil && (*last).FreeLen()-in.options.RearHeadroom >= b.Len() {
		_, _ = (*last).Write(b.Bytes())
		b.Release()
		return
	}
	in.queue.Push(b)
	in.chargeLocked(Cost(b))
	Signal(in.ready)
}

// Cost is what a queued buffer takes in bytes.
func Cost(b *buf.Buffer) int { return b.RawCap() + QueueCost }

func (in *Inbox) chargeLocked(n int) {
	in.size += n
	in.total.Add(int64(n))
}

// popLocked takes the first buffer off the queue.
func (in *Inbox) popLocked() *buf.Buffer {
	b := in.queue.Pop()
	in.chargeLocked(-Cost(b))
	Signal(in.room)
	return b
}

// waitLocked returns with mu held: with nil once there is something to read.
func (in *Inbox) waitLocked() error {
	for {
		in.mu.Lock()
		var err error
		switch {
		case in.closed:
			err = net.ErrClosed
		case in.deadline.Over():
			return os.ErrDeadlineExceeded
		case in.queue.Len() > 0:
			return nil
		case in.err != nil:
			err = in.err
		}
		if err != nil {
			Signal(in.ready) // for whoever else waits
			return err
		}
		in.mu.Unlock()
		select {
		case <-in.ready:
		case <-in.deadline.Done():
		}
	}
}

// Read implements io.Reader.
func (in *Inbox) Read(p []byte) (int, error) {
	err := in.waitLocked()
	defer in.mu.Unlock()
	if err != nil {
		return 0, err
	}
	b := *in.queue.First()
	n, _ := b.Read(p)
	if b.IsEmpty() {
		in.popLocked().Release()
	}
	return n, nil
}

// InitializeReadWaiter implements N.ReadWaiter.
func (in *Inbox) InitializeReadWaiter(options N.ReadWaitOptions) bool {
	in.mu.Lock()
	in.options = options
	in.mu.Unlock()
	return false
}

// WaitReadBuffer implements N.ReadWaiter: what is queued is handed over as it is.
func (in *Inbox) WaitReadBuffer() (*buf.Buffer, error) {
	err := in.waitLocked()
	defer in.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return in.options.Copy(in.popLocked()), nil // a copy only when it was queued before the options
}

// Finish lets the reader have what is queued, then err.
func (in *Inbox) Finish(err error) {
	in.mu.Lock()
	if in.err == nil {
		in.err = err
	}
	in.mu.Unlock()
	in.wake()
}

// Shut drops what is queued and ends reading. It reports false when that was done before.
func (in *Inbox) Shut() bool {
	in.mu.Lock()
	first := !in.closed
	in.closed = true
	for in.queue.Len() > 0 {
		in.popLocked().Release()
	}
	in.mu.Unlock()
	in.wake()
	return first
}

// IsShut reports whether Shut was called.
func (in *Inbox) IsShut() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.closed
}

// Queued returns how many buffers wait for the reader and what they cost in bytes.
func (in *Inbox) Queued() (buffers, size int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.queue.Len(), in.size
}

// wake makes whoever waits look again.
func (in *Inbox) wake() {
	Signal(in.ready)
	Signal(in.room)
}

package muxio

import (
	"context"
	"io"
	"sync"
	"time"
)

// Idle closes a connection that has had no stream for some time. Its methods are safe for concurrent use.
type Idle struct {
	after time.Duration
	end   func()

	mu       sync.Mutex
	timer    *time.Timer
	active   int // streams, and handlers of those that the client has ended
	stopped  bool
	timedOut bool
}

// NewIdle calls end, which must not block, once there was no stream for after, from now on.
func NewIdle(after time.Duration, end func()) *Idle {
	i := &Idle{after: after, end: end}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.timer = time.AfterFunc(after, i.expire)
	return i
}

func (i *Idle) expire() {
	i.mu.Lock()
	i.timedOut = i.active == 0 && !i.stopped
	over := i.timedOut
	i.mu.Unlock()
	if over {
		i.end()
	}
}

// Enter counts a stream until Leave.
func (i *Idle) Enter() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.active++
	i.timer.Stop()
}

// Leave takes back what Enter counted, once the stream's handler has returned.
func (i *Idle) Leave() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.active--
	if i.active == 0 && !i.stopped {
		i.timer.Reset(i.after)
	}
}

// Active is how many streams were entered and not left.
func (i *Idle) Active() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.active
}

// Stop gives the timer up. What ends after it has not idled.
func (i *Idle) Stop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stopped = true
	i.timer.Stop()
}

// Outcome is what a connection's end by err means: nil when the client closed it, or when it idled; the end
// of ctx before any other.
func (i *Idle) Outcome(ctx context.Context, err error) error {
	i.mu.Lock()
	timedOut := i.timedOut
	i.mu.Unlock()
	switch {
	case err == io.EOF || timedOut:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return err
}

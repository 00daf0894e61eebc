package match

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"sync"
	"time"
)

// ErrBusy is returned to those who waited too long for a turn.
var ErrBusy = errors.New("too many clients wait to be looked up")

// Turns let only so many search all users at once: those who are nobody, each of whom costs a whole
// search, leave cores to those who are somebody. Addresses take turns, so that one that floods waits
// for itself alone.
type Turns struct {
	mu     sync.Mutex
	free   int
	queues map[sourceKey]*queue
	next   []*queue // those with somebody in them, in order
}

// queue is who waits of one address.
type queue struct {
	key     sourceKey
	waiting []*waiter
}

type waiter struct {
	turn chan struct{} // closed when it has come
	gone bool
}

// NewTurns returns turns for half of the cores.
func NewTurns() *Turns {
	return &Turns{free: max(1, runtime.GOMAXPROCS(0)/2), queues: make(map[sourceKey]*queue)}
}

// Take waits for a turn of source, for as long as patience. Give it back with Done.
func (t *Turns) Take(ctx context.Context, source netip.Addr, patience time.Duration) error {
	w := t.enqueue(keyOf(source))
	if w == nil {
		return nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var err error
	select {
	case <-w.turn:
		return nil
	case <-timer.C: // its handshake is over by now
		err = ErrBusy
	case <-ctx.Done():
		err = ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	w.gone = true
	select {
	case <-w.turn:
		t.doneLocked() // it came at the same moment
	default:
	}
	return err
}

// enqueue takes a free turn, or returns who waits for one.
func (t *Turns) enqueue(key sourceKey) *waiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free > 0 {
		t.free--
		return nil
	}
	w := &waiter{turn: make(chan struct{})}
	q := t.queues[key]
	if q == nil {
		q = &queue{key: key}
		t.queues[key] = q
		t.next = append(t.next, q)
	}
	q.waiting = append(q.waiting, w)
	return w
}

// Done ends a turn.
func (t *Turns) Done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.doneLocked()
}

// doneLocked gives the turn to the next address that has somebody who still waits.
func (t *Turns) doneLocked() {
	for len(t.next) > 0 {
		q := t.next[0]
		t.next = t.next[1:]
		w := q.pop()
		if len(q.waiting) > 0 {
			t.next = append(t.next, q)
		} else {
			delete(t.queues, q.key)
		}
		if w != nil {
			close(w.turn)
			return
		}
	}
	t.free++
}

// pop takes the first who still waits.
func (q *queue) pop() *waiter {
	for len(q.waiting) > 0 {
		w := q.waiting[0]
		q.waiting = q.waiting[1:]
		if !w.gone {
			return w
		}
	}
	return nil
}

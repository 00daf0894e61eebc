package meter

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	// burst is what an idle account may send at once, in time at its own rate: long enough to hide the
	// lateness of timers, short enough that no second ever carries more than 110 % of the limit.
	burst = int64(100 * time.Millisecond)
	// minSleep joins naps: a debt below it is carried to the next chunk instead of costing a timer.
	minSleep = int64(time.Millisecond)
	// maxCost bounds the price of one chunk, so that a mistyped limit of one byte per second cannot
	// overflow the clock.
	maxCost = float64(time.Hour)
)

// bucket paces one direction without a lock: GCRA in virtual time. due is the moment, in nanoseconds
// since the ledger's epoch, up to which the rate has been used. The rate is not part of it: each
// taker prices its bytes with its own rate, so nodes that grant a user different speeds share one.
//
// The padding keeps the two directions of a user on cache lines of their own.
type bucket struct {
	due atomic.Int64
	_   [56]byte
}

// take charges n bytes at speed (bytes per second; 0 is free) and returns for how many nanoseconds
// from now the taker owes a pause; not positive means none. The charge stands whether it pauses or not.
func (b *bucket) take(now, n, speed int64) int64 {
	if speed <= 0 {
		return 0
	}
	cost := int64(min(float64(n)*float64(time.Second)/float64(speed), maxCost))
	for {
		due := b.due.Load()
		next := max(due, now) + cost
		if b.due.CompareAndSwap(due, next) {
			return next - now - burst
		}
	}
}

// debt is what a newcomer would have to wait, in nanoseconds; not positive means nothing.
func (b *bucket) debt(now int64) int64 {
	return b.due.Load() - now - burst
}

// rescale shortens a debt made at the rate from when the account becomes faster: the bytes owed stay
// the same, the time they take does not. A slower rate keeps the time, which forgives a few chunks.
func (b *bucket) rescale(now, from, to int64) {
	if from <= 0 || to <= from {
		return
	}
	for {
		due := b.due.Load()
		if due <= now {
			return
		}
		owed := math.Round(float64(due-now) * float64(from) / float64(to))
		if b.due.CompareAndSwap(due, now+int64(owed)) {
			return
		}
	}
}

// broadcast wakes everybody who waits. The zero value is ready; the channel is made by the first who
// waits, so the many meters nobody waits on cost one nil pointer.
type broadcast struct {
	current atomic.Pointer[chan struct{}]
}

// wait returns a channel that the next fire closes. Take it before reading what fire announces.
func (b *broadcast) wait() <-chan struct{} {
	for {
		if c := b.current.Load(); c != nil {
			return *c
		}
		c := make(chan struct{})
		if b.current.CompareAndSwap(nil, &c) {
			return c
		}
	}
}

// fire wakes all who wait now.
func (b *broadcast) fire() {
	if c := b.current.Swap(nil); c != nil {
		close(*c)
	}
}

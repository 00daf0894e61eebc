package web

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// FarewellDelay is the silence that a Farewell waits for.
	FarewellDelay = 250 * time.Millisecond
	// FarewellTime is what it waits for that at most, about.
	FarewellTime = 10 * time.Second
)

// Farewell is a half-close for carriers that have none: a peer that hears of the end of our side stops
// sending, or loses what it has not handed on yet. So it hears of it once it has been silent for a moment.
// The zero value is ready; its methods are safe for concurrent use.
type Farewell struct {
	mu    sync.Mutex
	timer *time.Timer
}

// Say calls end, in a goroutine of its own, once reads has stood still for FarewellDelay, or after
// FarewellTime. It is called once.
func (f *Farewell) Say(reads *atomic.Uint32, end func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, waited := reads.Load(), FarewellDelay
	f.timer = time.AfterFunc(FarewellDelay, func() {
		f.mu.Lock()
		now := reads.Load()
		again := now != seen && waited < FarewellTime
		if again {
			seen = now
			waited += FarewellDelay
			f.timer.Reset(FarewellDelay)
		}
		f.mu.Unlock()
		if !again {
			end()
		}
	})
}

// Stop calls end off, unless it has begun.
func (f *Farewell) Stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.timer != nil {
		f.timer.Stop()
	}
}

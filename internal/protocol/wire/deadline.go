package wire

import (
	"sync"
	"time"
)

// Deadline turns a point in time into a channel that is closed once it has passed. The zero value is
// no deadline.
type Deadline struct {
	mu      sync.Mutex
	at      time.Time
	timer   *time.Timer
	passed  chan struct{}
	expired bool // passed is closed
}

// Set moves the deadline; the zero time removes it. Who waits already waits for the new one.
func (d *Deadline) Set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = t
	if d.expired {
		d.expired = false
		d.passed = nil
	}
	if d.timer != nil {
		d.timer.Stop()
	}
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	switch {
	case left <= 0:
		d.expireLocked()
	case d.timer == nil:
		d.timer = time.AfterFunc(left, d.fire)
	default:
		d.timer.Reset(left)
	}
}

// fire runs when a timer ends, which may be one that Set has just replaced.
func (d *Deadline) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.expired && !d.at.IsZero() && time.Until(d.at) <= 0 {
		d.expireLocked()
	}
}

func (d *Deadline) expireLocked() {
	close(d.channelLocked())
	d.expired = true
}

func (d *Deadline) channelLocked() chan struct{} {
	if d.passed == nil {
		d.passed = make(chan struct{})
	}
	return d.passed
}

// Done returns the channel that is closed when the deadline passes.
func (d *Deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.channelLocked()
}

// Over reports whether the deadline has passed.
func (d *Deadline) Over() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expired
}

// Stop gives the timer up for good.
func (d *Deadline) Stop() { d.Set(time.Time{}) }

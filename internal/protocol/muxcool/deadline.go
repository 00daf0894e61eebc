package muxcool

import (
	"sync"
	"time"
)

// deadline turns a point in time into a channel that is closed once it has passed. The zero value is
// no deadline.
type deadline struct {
	mu      sync.Mutex
	at      time.Time
	timer   *time.Timer
	passed  chan struct{}
	expired bool // passed is closed
}

// set moves the deadline; the zero time removes it. Who waits already waits for the new one.
func (d *deadline) set(t time.Time) {
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

// fire runs when a timer ends, which may be one that set has just replaced.
func (d *deadline) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.expired && !d.at.IsZero() && time.Until(d.at) <= 0 {
		d.expireLocked()
	}
}

func (d *deadline) expireLocked() {
	close(d.channelLocked())
	d.expired = true
}

func (d *deadline) channelLocked() chan struct{} {
	if d.passed == nil {
		d.passed = make(chan struct{})
	}
	return d.passed
}

// done returns the channel that is closed when the deadline passes.
func (d *deadline) done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.channelLocked()
}

// over reports whether the deadline has passed.
func (d *deadline) over() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expired
}

// stop gives the timer up for good.
func (d *deadline) stop() { d.set(time.Time{}) }

// deadlines are those of one conn.
type deadlines struct {
	read, write deadline
}

// SetDeadline implements net.Conn.
func (d *deadlines) SetDeadline(t time.Time) error {
	d.read.set(t)
	d.write.set(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.read.set(t)
	return nil
}

// SetWriteDeadline implements net.Conn. It bounds the wait for the shared connection only: a frame
// that is on its way is never cut.
func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.write.set(t)
	return nil
}

func (d *deadlines) stopTimers() {
	d.read.stop()
	d.write.stop()
}

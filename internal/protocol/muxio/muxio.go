// Package muxio is what protocols with many streams on one connection and no flow control share: the
// bounded queue of a stream's incoming bytes (Inbox), and taking turns in writing (Outbox, Link).
package muxio

import (
	"time"

	"heki/internal/protocol/wire"
)

const (
	// StreamQueue is how many bytes may wait for one stream's reader.
	StreamQueue = 512 << 10
	// TotalQueue is the same over all streams of a connection.
	TotalQueue = 16 << 20
	// StallTimeout is how long a full queue may hold up the other streams.
	StallTimeout = 5 * time.Second
	// StuckTimeout is how long a client may not read a frame of a closed stream.
	StuckTimeout = 30 * time.Second
	// Coalesce is the size in bytes, room around the payload included, of the buffers that small frames
	// are gathered in while their reader is behind, so that it catches up with large writes.
	Coalesce = 32 << 10
	// QueueCost is what a queued buffer costs besides its bytes, about.
	QueueCost = 128
)

// Deadlines are those of one stream.
type Deadlines struct {
	Reading, Writing wire.Deadline
}

// SetDeadline implements net.Conn.
func (d *Deadlines) SetDeadline(t time.Time) error {
	d.Reading.Set(t)
	d.Writing.Set(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (d *Deadlines) SetReadDeadline(t time.Time) error {
	d.Reading.Set(t)
	return nil
}

// SetWriteDeadline implements net.Conn. It bounds the wait for the shared connection only: a frame
// that is on its way is never cut.
func (d *Deadlines) SetWriteDeadline(t time.Time) error {
	d.Writing.Set(t)
	return nil
}

// StopTimers gives both up for good.
func (d *Deadlines) StopTimers() {
	d.Reading.Stop()
	d.Writing.Stop()
}

// Fifo is a queue that reuses its memory.
type Fifo[T any] struct {
	items []T
	head  int
}

// Len is how many there are.
func (q *Fifo[T]) Len() int { return len(q.items) - q.head }

// First is nil when the queue is empty. It is valid until the next Push or Pop; so is Last.
func (q *Fifo[T]) First() *T {
	if q.Len() == 0 {
		return nil
	}
	return &q.items[q.head]
}

// Last is nil when the queue is empty.
func (q *Fifo[T]) Last() *T {
	if q.Len() == 0 {
		return nil
	}
	return &q.items[len(q.items)-1]
}

// Push appends v.
func (q *Fifo[T]) Push(v T) {
	if q.head > 0 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, v)
}

// Pop takes the first off a queue that is not empty.
func (q *Fifo[T]) Pop() T {
	var zero T
	v := q.items[q.head]
	q.items[q.head] = zero
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return v
}

// Signal wakes one waiter of c, whose capacity is 1, now or when it next waits.
func Signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

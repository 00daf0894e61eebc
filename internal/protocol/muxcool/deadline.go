package muxcool

import (
	"time"

	"heki/internal/protocol/wire"
)

// deadlines are those of one conn.
type deadlines struct {
	read, write wire.Deadline
}

// SetDeadline implements net.Conn.
func (d *deadlines) SetDeadline(t time.Time) error {
	d.read.Set(t)
	d.write.Set(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.read.Set(t)
	return nil
}

// SetWriteDeadline implements net.Conn. It bounds the wait for the shared connection only: a frame
// that is on its way is never cut.
func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.write.Set(t)
	return nil
}

func (d *deadlines) stopTimers() {
	d.read.Stop()
	d.write.Stop()
}

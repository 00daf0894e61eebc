package remote

import (
	"net"
	"time"

	N "github.com/sagernet/sing/common/network"

	"heki/internal/netio"
	"heki/internal/protocol/wire"
)

// patience is how long a header waits for the first payload to travel with. Clients speak first in
// nearly all protocols, and have most often done so by now; where the server does, this is what it costs.
const patience = 100 * time.Millisecond

// Early is a stream whose header goes out with the first write, or alone when none comes soon. Its
// reader and, once the header is out, its writer are replaceable.
type Early struct {
	wire.Preface
	inner *netio.Conn
	timer *time.Timer
}

var _ wire.Conn = (*Early)(nil)

// NewEarly makes conn, which it owns, begin with header, which it keeps.
func NewEarly(conn net.Conn, header []byte) *Early {
	c := &Early{inner: netio.NewConn(conn)}
	c.Begin(c.inner, header)
	c.timer = Soon(c.Flush)
	return c
}

// Waiter waits for what is read without holding a buffer.
func (c *Early) Waiter() N.ReadWaiter { return c.inner }

// Close ends the waiting and closes the stream.
func (c *Early) Close() error {
	c.timer.Stop()
	return c.Preface.Close()
}

// Soon flushes a header that no payload came to travel with. Stop the timer that it returns when the
// stream is closed.
func Soon(flush func() error) *time.Timer {
	return time.AfterFunc(patience, func() { _ = flush() }) // who writes or reads next learns of the error
}

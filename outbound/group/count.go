package group

import (
	"net"
	"sync/atomic"

	N "github.com/sagernet/sing/common/network"

	"heki/internal/netio"
)

// use is one open connection of a member.
type use struct {
	member *member
	ended  atomic.Bool
}

func newUse(m *member) *use {
	m.conns.Add(1)
	return &use{member: m}
}

// end counts it out, once.
func (u *use) end() {
	if !u.ended.Swap(true) {
		u.member.conns.Add(-1)
	}
}

// countedConn counts a stream until it is closed. It is replaceable: bytes do not pass it.
type countedConn struct {
	net.Conn
	use *use
}

func (c *countedConn) Close() error {
	c.use.end()
	return c.Conn.Close()
}

// ReaderReplaceable says that reads may go to the inner connection.
func (c *countedConn) ReaderReplaceable() bool { return true }

// WriterReplaceable says that writes may go to the inner connection.
func (c *countedConn) WriterReplaceable() bool { return true }

// Upstream returns the inner connection.
func (c *countedConn) Upstream() any { return c.Conn }

// Packet sessions that can wait without a buffer, and that hand over batches, still do when counted.
type (
	waiting interface {
		N.PacketConn
		N.PacketReadWaiter
	}
	making interface {
		N.PacketConn
		N.PacketReadWaitCreator
	}
	batching interface {
		waiting
		netio.PacketsReader
	}

	countedPackets struct {
		N.PacketConn
		use *use
	}
	countedWaiting struct {
		waiting
		use *use
	}
	countedMaking struct {
		making
		use *use
	}
	countedBatching struct {
		batching
		use *use
	}
)

// countPackets counts c, which it owns, until it is closed.
func countPackets(c N.PacketConn, u *use) N.PacketConn {
	switch c := c.(type) {
	case batching:
		return &countedBatching{c, u}
	case waiting:
		return &countedWaiting{c, u}
	case making:
		return &countedMaking{c, u}
	}
	return &countedPackets{c, u}
}

func (c *countedPackets) Close() error {
	c.use.end()
	return c.PacketConn.Close()
}

func (c *countedWaiting) Close() error {
	c.use.end()
	return c.waiting.Close()
}

func (c *countedMaking) Close() error {
	c.use.end()
	return c.making.Close()
}

func (c *countedBatching) Close() error {
	c.use.end()
	return c.batching.Close()
}

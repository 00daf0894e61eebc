package redirect

import (
	"sync"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"
)

// ports bounds the destinations that one packet session remembers.
const ports = 64

// packetConn changes the destination of what is sent, and the source of what the server answers.
type packetConn struct {
	N.PacketConn
	out *Outbound

	mu   sync.Mutex
	last map[uint16]M.Socksaddr // the destination that a port of the server stands for
}

// WritePacket implements N.PacketWriter.
func (c *packetConn) WritePacket(b *buf.Buffer, dst M.Socksaddr) error {
	to := c.out.instead(dst)
	c.mu.Lock()
	if c.last[to.Port] != dst {
		if c.last == nil || len(c.last) >= ports {
			c.last = make(map[uint16]M.Socksaddr)
		}
		c.last[to.Port] = dst
	}
	c.mu.Unlock()
	return c.PacketConn.WritePacket(b, to)
}

// source is whom an answer of the server is from.
func (c *packetConn) source(from M.Socksaddr) M.Socksaddr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if dst, ok := c.last[from.Port]; ok {
		return dst
	}
	return from
}

// ReadPacket implements N.PacketReader.
func (c *packetConn) ReadPacket(b *buf.Buffer) (M.Socksaddr, error) {
	from, err := c.PacketConn.ReadPacket(b)
	return c.source(from), err
}

// CreateReadWaiter implements N.PacketReadWaitCreator.
func (c *packetConn) CreateReadWaiter() (N.PacketReadWaiter, bool) {
	inner, ok := c.PacketConn.(N.PacketReadWaiter)
	return &waiter{inner, c}, ok
}

// waiter waits without a buffer.
type waiter struct {
	N.PacketReadWaiter
	conn *packetConn
}

// WaitReadPacket implements N.PacketReadWaiter.
func (w *waiter) WaitReadPacket() (*buf.Buffer, M.Socksaddr, error) {
	b, from, err := w.PacketReadWaiter.WaitReadPacket()
	return b, w.conn.source(from), err
}

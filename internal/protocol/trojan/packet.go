package trojan

import (
	"net"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire"
)

var (
	_ N.PacketConn       = (*PacketConn)(nil)
	_ N.PacketReadWaiter = (*PacketConn)(nil)
)

// PacketConn carries packets to and from any number of addresses over one stream. It is the same for
// client and server. Reading is for one goroutine at a time, writing for as many as the stream allows.
type PacketConn struct {
	wire.Packets
	conn  wire.Conn
	front int // headroom of conn
	body  wire.Body
	host  string // the last host read: the next is most often the same
}

// NewPacketConn serves packets on conn, whose request was read. Closing it closes conn.
func NewPacketConn(conn wire.Conn) *PacketConn {
	c := &PacketConn{conn: conn, front: N.CalculateFrontHeadroom(conn), body: wire.Body{Source: conn}}
	c.Packets = wire.NewPackets(&c.body, c.next)
	return c
}

// next waits for a frame, consumes its header and returns its address.
func (c *PacketConn) next() (M.Socksaddr, error) {
	if err := c.body.Resync(); err != nil {
		return M.Socksaddr{}, err
	}
	b, err := wire.PeekFrame(c.conn, 0, minHeader)
	if err != nil {
		return M.Socksaddr{}, err
	}
	if size := headerSize(b); len(b) < size {
		if b, err = wire.PeekFrame(c.conn, minHeader, size); err != nil {
			return M.Socksaddr{}, err
		}
	}
	f, n, err := ParseFrame(b, c.host)
	if err != nil {
		return M.Socksaddr{}, err
	}
	if f.Address.Fqdn != "" {
		c.host = f.Address.Fqdn
	}
	return f.Address, c.body.Begin(n, f.Length)
}

// WritePacket implements N.PacketWriter: source is where the packet came from. It owns b. A packet
// above MaxPacket is dropped, since no frame can say it.
func (c *PacketConn) WritePacket(b *buf.Buffer, source M.Socksaddr) error {
	length := b.Len()
	if length > MaxPacket {
		b.Release()
		return nil
	}
	size := address.Size(source) + frameTail
	b = wire.Headroom(b, size)
	AppendFrame(b.ExtendHeader(size)[:0], Frame{Address: source, Length: length})
	return wire.WriteBuffer(c.conn, b, c.front)
}

// FrontHeadroom is the most that WritePacket puts before a packet.
func (c *PacketConn) FrontHeadroom() int { return maxHeader }

// Upstream returns the stream below, for headroom only.
func (c *PacketConn) Upstream() any { return c.conn }

// Close closes the stream below.
func (c *PacketConn) Close() error { return c.conn.Close() }

// LocalAddr returns the address of the stream below.
func (c *PacketConn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr returns the address of the stream below.
func (c *PacketConn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// SetDeadline implements N.PacketConn.
func (c *PacketConn) SetDeadline(t time.Time) error { return c.conn.SetDeadline(t) }

// SetReadDeadline implements N.PacketConn.
func (c *PacketConn) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// SetWriteDeadline implements N.PacketConn.
func (c *PacketConn) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }

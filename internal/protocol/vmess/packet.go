package vmess

import (
	"net"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
)

// MaxPacket bounds a packet of command UDP in bytes: a chunk's length covers its overhead.
const MaxPacket = maxLength - tagSize - maxChunkPadding

var (
	_ N.PacketConn       = (*PacketConn)(nil)
	_ N.PacketReadWaiter = (*PacketConn)(nil)
)

// PacketConn is either end of command UDP: packets to and from one destination, a chunk each.
// Reading is for one goroutine at a time, writing for any number.
type PacketConn struct {
	conn        *Conn
	destination M.Socksaddr
}

// NewPacketConn carries packets over conn, whose request has command UDP and that destination.
// Closing it closes conn.
func NewPacketConn(conn *Conn, destination M.Socksaddr) *PacketConn {
	return &PacketConn{conn, destination}
}

// ReadPacket implements N.PacketReader. The destination is always the one of the request. A packet
// for which buffer has no room is lost. After a timeout reading goes on with a whole packet.
func (c *PacketConn) ReadPacket(buffer *buf.Buffer) (M.Socksaddr, error) {
	for {
		b, err := c.conn.r.wait()
		if err != nil {
			return M.Socksaddr{}, err
		}
		fits := b.Len() <= buffer.FreeLen()
		if fits {
			_, _ = buffer.Write(b.Bytes())
		}
		wire.Give(c.conn.r.pool, b)
		if fits {
			return c.destination, nil
		}
	}
}

// InitializeReadWaiter implements N.PacketReadWaiter.
func (c *PacketConn) InitializeReadWaiter(options N.ReadWaitOptions) bool {
	return c.conn.InitializeReadWaiter(options)
}

// WaitReadPacket implements N.PacketReadWaiter. No buffer is held while it waits.
func (c *PacketConn) WaitReadPacket() (*buf.Buffer, M.Socksaddr, error) {
	b, err := c.conn.r.wait()
	return b, c.destination, err
}

// WritePacket implements N.PacketWriter. It owns b. Where the packet comes from is not on the wire,
// so replies of any source are delivered; an empty packet, which would end the stream, and one above
// MaxPacket are dropped.
func (c *PacketConn) WritePacket(b *buf.Buffer, _ M.Socksaddr) error {
	if b.IsEmpty() || b.Len() > MaxPacket {
		b.Release()
		return nil
	}
	return c.conn.w.packet(b)
}

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

package vless

import (
	"encoding/binary"
	"net"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
)

// MaxPacket bounds a packet of command UDP in bytes.
const MaxPacket = 65535

// lengthSize is the frame header: u16be length.
const lengthSize = 2

var (
	_ N.PacketConn       = (*PacketConn)(nil)
	_ N.PacketReadWaiter = (*PacketConn)(nil)
)

// stream is a ServerConn or a ClientConn.
type stream interface {
	wire.Conn
	N.ExtendedWriter
	FrontHeadroom() int
}

// PacketConn is either side of command UDP: packets to and from one destination, each framed as u16be
// length and payload. Reading is for one goroutine at a time, writing for any number.
type PacketConn struct {
	wire.Packets
	conn        stream
	destination M.Socksaddr
	client      bool // packets that are for another destination are lost
	body        wire.Body
}

// NewPacketConn serves packets on conn after a request for destination. The response header goes out
// with the first reply. Closing it closes conn.
func NewPacketConn(conn wire.Conn, destination M.Socksaddr) *PacketConn {
	return newPacketConn(NewServerConn(conn), conn, destination, false)
}

// NewClientPacketConn asks for packets of destination on conn, whose request says so. A packet to
// another destination is lost. Closing it closes conn.
func NewClientPacketConn(conn *ClientConn, destination M.Socksaddr) *PacketConn {
	return newPacketConn(conn, conn, destination, true)
}

func newPacketConn(conn stream, source wire.Source, destination M.Socksaddr, client bool) *PacketConn {
	c := &PacketConn{conn: conn, destination: destination, client: client, body: wire.Body{Source: source}}
	c.Packets = wire.NewPackets(&c.body, c.next)
	return c
}

// next waits for a frame and consumes its header. Frames without payload are skipped. The destination is
// always the one of the request.
func (c *PacketConn) next() (M.Socksaddr, error) {
	for {
		if err := c.body.Resync(); err != nil {
			return M.Socksaddr{}, err
		}
		b, err := wire.PeekFrame(c.conn, 0, lengthSize)
		if err != nil {
			return M.Socksaddr{}, err
		}
		length := int(binary.BigEndian.Uint16(b))
		if err := c.body.Begin(lengthSize, length); err != nil {
			return M.Socksaddr{}, err
		}
		if length > 0 {
			return c.destination, nil
		}
	}
}

// WritePacket implements N.PacketWriter. It owns b. Where the packet comes from is not on the wire,
// so a server's replies of any source are delivered; an empty packet, or one above MaxPacket, is
// dropped, since no frame can say it.
func (c *PacketConn) WritePacket(b *buf.Buffer, address M.Socksaddr) error {
	length := b.Len()
	if length == 0 || length > MaxPacket || c.client && address != c.destination {
		b.Release()
		return nil
	}
	b = wire.Headroom(b, lengthSize+c.conn.FrontHeadroom())
	binary.BigEndian.PutUint16(b.ExtendHeader(lengthSize), uint16(length))
	return c.conn.WriteBuffer(b)
}

// FrontHeadroom is what WritePacket puts before a packet.
func (c *PacketConn) FrontHeadroom() int { return lengthSize }

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

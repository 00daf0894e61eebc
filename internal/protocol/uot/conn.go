package uot

import (
	"encoding/binary"
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

// PacketConn carries the packets of a session. It is the same for client and server. Reading is for
// one goroutine at a time, writing for as many as the stream allows.
type PacketConn struct {
	wire.Packets
	conn    wire.Conn
	request Request
	front   int // headroom of conn
	body    wire.Body
	host    string // the last host read: the next is most often the same
}

// ReadRequest consumes the request of a client.
func ReadRequest(conn wire.Source) (Request, error) {
	return wire.ReadHeader(conn, ParseRequest)
}

// NewPacketConn serves packets on conn, whose request r was read or written. The zero request is
// version 1's. Closing it closes conn.
func NewPacketConn(conn wire.Conn, r Request) *PacketConn {
	c := &PacketConn{conn: conn, request: r, front: N.CalculateFrontHeadroom(conn), body: wire.Body{Source: conn}}
	c.Packets = wire.NewPackets(&c.body, c.next)
	return c
}

// parse decodes the header of a packet.
func (c *PacketConn) parse(b []byte) (p Packet, n int, err error) {
	if !c.request.Connect {
		return ParsePacket(b, c.host)
	}
	p.Address = c.request.Destination
	p.Length, n, err = parseLength(b)
	return p, n, err
}

// next waits for a packet, consumes its header and returns its address. Those without payload are
// skipped.
func (c *PacketConn) next() (M.Socksaddr, error) {
	for {
		if err := c.body.Resync(); err != nil {
			return M.Socksaddr{}, err
		}
		p, n, err := wire.PeekHeader(c.conn, c.parse)
		if err != nil {
			return M.Socksaddr{}, err
		}
		if p.Address.Fqdn != "" {
			c.host = p.Address.Fqdn
		}
		if err := c.body.Begin(n, p.Length); err != nil {
			return M.Socksaddr{}, err
		}
		if p.Length > 0 {
			return p.Address, nil
		}
	}
}

// WritePacket implements N.PacketWriter: source is where the packet came from. It owns b. A packet
// above MaxPacket is dropped, since no header can say it.
func (c *PacketConn) WritePacket(b *buf.Buffer, source M.Socksaddr) error {
	length := b.Len()
	if length > MaxPacket {
		b.Release()
		return nil
	}
	size := lengthSize
	if !c.request.Connect {
		size += address.Size(source)
	}
	b = wire.Headroom(b, size)
	h := b.ExtendHeader(size)[:0]
	if !c.request.Connect {
		h = address.AppendU(h, source)
	}
	binary.BigEndian.AppendUint16(h, uint16(length)) // the header was there for it
	return wire.WriteBuffer(c.conn, b, c.front)
}

// FrontHeadroom is the most that WritePacket puts before a packet.
func (c *PacketConn) FrontHeadroom() int { return address.Max + lengthSize }

// Upstream returns the stream below, for headroom and for telling success.
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

package singmux

import (
	"encoding/binary"
	"errors"
	"net"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire"
)

const (
	lengthSize = 2
	// maxPacket bounds a packet in bytes.
	maxPacket = 65535
)

var (
	_ N.PacketConn       = (*packetConn)(nil)
	_ N.PacketReadWaiter = (*packetConn)(nil)
)

// packetConn is a packet session of the client, to one destination or to one for each packet. Reading
// is for one goroutine at a time, and so is writing.
type packetConn struct {
	wire.Packets
	conn        wire.Conn
	raw         stream
	perPacket   bool
	destination M.Socksaddr
	host        string // the last host read: the next is most often the same
	body        wire.Body
	answered    bool
}

func newPacketConn(conn wire.Conn, raw stream, req Request) *packetConn {
	c := &packetConn{
		conn: conn, raw: raw,
		perPacket: req.PerPacket, destination: req.Destination,
		body: wire.Body{Source: conn},
	}
	c.Packets = wire.NewPackets(&c.body, c.next)
	return c
}

// next waits for a packet, consumes its header and returns where it goes. Packets without payload are
// skipped.
func (c *packetConn) next() (M.Socksaddr, error) {
	for {
		if err := c.body.Resync(); err != nil {
			return M.Socksaddr{}, err
		}
		h, n, err := c.header()
		if err != nil {
			return M.Socksaddr{}, err
		}
		if err := c.body.Begin(n, h.length); err != nil {
			return M.Socksaddr{}, err
		}
		if h.length > 0 {
			return h.address, nil
		}
	}
}

// header waits for the header of a packet and returns its length, without consuming it.
func (c *packetConn) header() (h packetHeader, n int, err error) {
	for have := 0; ; {
		b, err := wire.PeekFrame(c.conn, have, have+1)
		if err != nil {
			return packetHeader{}, 0, err
		}
		have = len(b)
		if c.perPacket {
			h, n, err = parsePacket(b, c.host)
		} else {
			h, n, err = parseLength(b)
			h.address = c.destination
		}
		if err == nil {
			if h.address.Fqdn != "" {
				c.host = h.address.Fqdn
			}
			return h, n, nil
		}
		if !errors.Is(err, ErrShort) {
			return packetHeader{}, 0, err
		}
	}
}

// WritePacket implements N.PacketWriter: source is where the packet came from. It owns b. An empty
// packet, or one above maxPacket, is dropped, since no frame can say it.
func (c *packetConn) WritePacket(b *buf.Buffer, source M.Socksaddr) error {
	length := b.Len()
	if length == 0 || length > maxPacket {
		b.Release()
		return nil
	}
	size := lengthSize
	if c.perPacket {
		size += address.Size(source)
	}
	if !c.answered {
		size++
	}
	b = wire.Headroom(b, size)
	h := b.ExtendHeader(size)[:0]
	if !c.answered {
		c.answered = true
		h = append(h, statusSuccess)
	}
	if c.perPacket {
		h = address.AppendS(h, source)
	}
	binary.BigEndian.AppendUint16(h, uint16(length)) // the header was there for it
	return wire.WriteBuffer(c.conn, b, 0)
}

// HandshakeFailure tells the client that the session did not come about; see streamConn.
func (c *packetConn) HandshakeFailure(err error) error {
	if c.answered {
		return nil
	}
	c.answered = true
	_, err = c.conn.Write(AppendFailure(nil, wire.Explain(err)))
	return err
}

// FrontHeadroom is the most that WritePacket puts before a packet.
func (c *packetConn) FrontHeadroom() int { return 1 + address.Max + lengthSize }

// Close closes the stream.
func (c *packetConn) Close() error { return c.raw.Close() }

// LocalAddr returns the address of the connection.
func (c *packetConn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr returns the address of the connection.
func (c *packetConn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// SetDeadline implements N.PacketConn.
func (c *packetConn) SetDeadline(t time.Time) error { return c.raw.SetDeadline(t) }

// SetReadDeadline implements N.PacketConn.
func (c *packetConn) SetReadDeadline(t time.Time) error { return c.raw.SetReadDeadline(t) }

// SetWriteDeadline implements N.PacketConn.
func (c *packetConn) SetWriteDeadline(t time.Time) error { return c.raw.SetWriteDeadline(t) }

package muxcool

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire"
)

var (
	_ N.PacketConn       = (*XUDP)(nil)
	_ N.PacketReadWaiter = (*XUDP)(nil)
)

// XUDP is the client's side of one packet session with any number of destinations, alone on a
// connection whose request asked for mux. Reading is for one goroutine at a time, writing for any
// number.
type XUDP struct {
	wire.Packets
	conn  wire.Conn
	front int // headroom of conn
	body  wire.Body
	host  string      // the last host read: the next is most often the same
	from  M.Socksaddr // the last address that a frame named

	mu    sync.Mutex // one frame at a time until the first is out
	begun bool
}

// NewXUDP serves packets on conn; destination is where packets come from that name no other address.
// Closing it closes conn.
func NewXUDP(conn wire.Conn, destination M.Socksaddr) *XUDP {
	c := &XUDP{conn: conn, front: N.CalculateFrontHeadroom(conn), body: wire.Body{Source: conn}, from: destination}
	c.Packets = wire.NewPackets(&c.body, c.next)
	return c
}

// next waits for a packet and consumes its header. Other frames are skipped; the end of the session is
// io.EOF.
func (c *XUDP) next() (M.Socksaddr, error) {
	for {
		if err := c.body.Resync(); err != nil {
			return M.Socksaddr{}, err
		}
		f, n, err := peekFrame(c.conn, c.host)
		if err != nil {
			return M.Socksaddr{}, err
		}
		if f.Address.Fqdn != "" {
			c.host = f.Address.Fqdn
		}
		if err := c.body.Begin(n, f.Length); err != nil {
			return M.Socksaddr{}, err
		}
		switch {
		case f.Status == StatusEnd:
			return M.Socksaddr{}, io.EOF
		case f.Status != StatusKeep || !f.HasData() || f.Network != 0 && !f.Address.IsValid():
			continue
		case f.Address.IsValid():
			c.from = f.Address
		}
		return c.from, nil
	}
}

// WritePacket implements N.PacketWriter. It owns b. A packet above MaxPayload is dropped, since no
// frame can say it.
func (c *XUDP) WritePacket(b *buf.Buffer, destination M.Socksaddr) error {
	length := b.Len()
	if length > MaxPayload {
		b.Release()
		return nil
	}
	size := replyHeader + address.Size(destination)
	b = wire.Headroom(b, size)
	f := Frame{
		Status: StatusKeep, Option: OptionData,
		Network: NetworkUDP, Address: destination, Length: length,
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.begun {
		f.Status, c.begun = StatusNew, true
	}
	AppendFrame(b.ExtendHeader(size)[:0], f)
	return wire.WriteBuffer(c.conn, b, c.front)
}

// FrontHeadroom is the most that WritePacket puts before a packet.
func (c *XUDP) FrontHeadroom() int { return replyHeader + address.Max }

// Upstream returns the stream below, for headroom only.
func (c *XUDP) Upstream() any { return c.conn }

// Close closes the stream below.
func (c *XUDP) Close() error { return c.conn.Close() }

// LocalAddr returns the address of the stream below.
func (c *XUDP) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr returns the address of the stream below.
func (c *XUDP) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// SetDeadline implements N.PacketConn.
func (c *XUDP) SetDeadline(t time.Time) error { return c.conn.SetDeadline(t) }

// SetReadDeadline implements N.PacketConn.
func (c *XUDP) SetReadDeadline(t time.Time) error { return c.conn.SetReadDeadline(t) }

// SetWriteDeadline implements N.PacketConn.
func (c *XUDP) SetWriteDeadline(t time.Time) error { return c.conn.SetWriteDeadline(t) }

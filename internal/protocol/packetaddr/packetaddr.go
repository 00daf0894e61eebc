// Package packetaddr gives a packet session with one destination many: the address travels in front
// of each payload. Clients ask for it with the destination Host.
//
// Source: v2fly's packetaddr, protocols.md §5.3
package packetaddr

import (
	"net"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire"
)

// Host is the destination, of any port, that asks for packetaddr.
const Host = "sp.packet-addr.v2fly.arpa"

// IsDestination reports whether destination asks for packetaddr.
func IsDestination(destination M.Socksaddr) bool { return destination.Fqdn == Host }

var (
	_ N.PacketConn            = (*Conn)(nil)
	_ N.PacketReadWaitCreator = (*Conn)(nil)
)

// Conn is a packet session whose payloads start with a P-ADDR both ways. Client and server are alike.
type Conn struct {
	inner       N.PacketConn
	destination M.Socksaddr // of the inner session
}

// NewConn wraps inner, a session with destination. Closing it closes inner.
func NewConn(inner N.PacketConn, destination M.Socksaddr) *Conn {
	return &Conn{inner: inner, destination: destination}
}

// ReadPacket implements N.PacketReader: it returns the address in front of the payload. Payloads
// without a whole address are skipped.
func (c *Conn) ReadPacket(b *buf.Buffer) (M.Socksaddr, error) {
	start := b.Start()
	for {
		if _, err := c.inner.ReadPacket(b); err != nil {
			return M.Socksaddr{}, err
		}
		if addr, ok := strip(b); ok {
			return addr, nil
		}
		b.Resize(start, 0)
	}
}

// strip takes the address off the payload.
func strip(b *buf.Buffer) (M.Socksaddr, bool) {
	addr, n, err := address.ParseP(b.Bytes())
	if err != nil {
		return M.Socksaddr{}, false
	}
	b.Advance(n)
	return addr, true
}

// WritePacket implements N.PacketWriter: source goes in front of the payload. It owns b. A packet of
// a source that is not an IP is dropped, since no client could tell where it came from.
func (c *Conn) WritePacket(b *buf.Buffer, source M.Socksaddr) error {
	if !source.IsIP() {
		b.Release()
		return nil
	}
	source.Fqdn = ""
	size := address.Size(source)
	b = wire.Headroom(b, size)
	address.AppendP(b.ExtendHeader(size)[:0], source)
	return c.inner.WritePacket(b, c.destination)
}

// CreateReadWaiter implements N.PacketReadWaitCreator: it can wait without a buffer when the inner
// session can.
func (c *Conn) CreateReadWaiter() (N.PacketReadWaiter, bool) {
	switch r := c.inner.(type) {
	case N.PacketReadWaiter:
		return waiter{r}, true
	case N.PacketReadWaitCreator:
		w, ok := r.CreateReadWaiter()
		return waiter{w}, ok
	}
	return nil, false
}

// waiter strips the address off the packets of an inner waiter.
type waiter struct{ inner N.PacketReadWaiter }

func (w waiter) InitializeReadWaiter(options N.ReadWaitOptions) bool {
	return w.inner.InitializeReadWaiter(options)
}

func (w waiter) WaitReadPacket() (*buf.Buffer, M.Socksaddr, error) {
	for {
		b, _, err := w.inner.WaitReadPacket()
		if err != nil {
			return nil, M.Socksaddr{}, err
		}
		if addr, ok := strip(b); ok {
			return b, addr, nil
		}
		b.Release()
	}
}

// FrontHeadroom is the most that WritePacket puts before a packet.
func (c *Conn) FrontHeadroom() int { return address.MaxP }

// ReaderOverhead is how much longer an inner packet is than what ReadPacket leaves of it.
func (c *Conn) ReaderOverhead() int { return address.MaxP }

// Upstream returns the inner session, for headroom only.
func (c *Conn) Upstream() any { return c.inner }

// Close closes the inner session.
func (c *Conn) Close() error { return c.inner.Close() }

// LocalAddr returns the address of the inner session.
func (c *Conn) LocalAddr() net.Addr { return c.inner.LocalAddr() }

// SetDeadline implements N.PacketConn.
func (c *Conn) SetDeadline(t time.Time) error { return c.inner.SetDeadline(t) }

// SetReadDeadline implements N.PacketConn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.inner.SetReadDeadline(t) }

// SetWriteDeadline implements N.PacketConn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.inner.SetWriteDeadline(t) }

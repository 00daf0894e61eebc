//go:build !linux

package netio

import (
	"net"
	"net/netip"

	"github.com/sagernet/sing/common/buf"
)

// PacketWaiter receives datagrams.
type PacketWaiter struct{ c *net.UDPConn }

// NewPacketWaiter returns a waiter on c.
func NewPacketWaiter(c *net.UDPConn) (*PacketWaiter, error) { return &PacketWaiter{c}, nil }

// Wait returns the next datagram, for Put, and its unmapped source.
func (w *PacketWaiter) Wait() (*buf.Buffer, netip.AddrPort, error) {
	b := GetPacket()
	n, from, err := w.c.ReadFromUDPAddrPort(b.FreeBytes())
	if err != nil {
		Put(b)
		return nil, netip.AddrPort{}, err
	}
	b.Truncate(n)
	return Filled(b), netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), nil
}

package netio

import (
	"net"
	"net/netip"
)

// AddrPort returns the address of a TCP or UDP socket, IPv4 as such also when the socket is one of IPv6,
// or the zero value for any other.
func AddrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

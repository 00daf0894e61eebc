package netio

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"syscall"

	"github.com/sagernet/sing/common/buf"
	"golang.org/x/sys/unix"
)

// PacketSocket is an unconnected UDP socket that many goroutines send on without waiting for one
// another. Close it like a net.UDPConn.
type PacketSocket struct {
	*net.UDPConn
	raw   syscall.RawConn
	v6    bool       // its addresses are IPv6 ones, IPv4 mapped
	local netip.Addr // bound to; unspecified: to all
	port  uint16
	join  atomic.Int32 // the longest datagrams that may go out joined, in bytes; 0: none
}

// NewPacketSocket prepares c, which it owns from now on. A socket that is bound to no address says of
// each datagram which of the machine's it was sent to.
func NewPacketSocket(c *net.UDPConn) (*PacketSocket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &PacketSocket{UDPConn: c, raw: raw, local: AddrPort(c.LocalAddr()).Addr(), port: AddrPort(c.LocalAddr()).Port()}
	s.join.Store(maxJoin)
	var errControl error
	err = raw.Control(func(fd uintptr) {
		domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		s.v6 = domain == unix.AF_INET6
		switch {
		case err != nil:
			errControl = fmt.Errorf("socket domain: %w", err)
		case !s.local.IsUnspecified():
		case s.v6:
			errControl = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		default:
			errControl = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
	})
	return s, errors.Join(err, errControl)
}

// Port is the port it is bound to.
func (s *PacketSocket) Port() uint16 { return s.port }

// Send sends one datagram to a client. See SendBatch.
func (s *PacketSocket) Send(b []byte, to netip.AddrPort, from netip.Addr) error {
	w := senders.Get().(*sender)
	defer w.put()
	w.add(b)
	return w.send(s, to, from)
}

// SendBatch sends each of bs, at most BatchSize, as one datagram to a client. from is the machine's
// address that they leave with, ignored where the socket is bound to one; invalid lets the system
// choose. It waits while the socket has no room. Datagrams that cannot be sent are lost, and the error
// is that of the first; net.ErrClosed is for all.
func (s *PacketSocket) SendBatch(bs []*buf.Buffer, to netip.AddrPort, from netip.Addr) error {
	w := senders.Get().(*sender)
	defer w.put()
	for _, b := range bs {
		w.add(b.Bytes())
	}
	return w.send(s, to, from)
}

// scope is the number in the zone of a link-local address.
func scope(addr netip.Addr) uint32 {
	if addr.Zone() == "" {
		return 0
	}
	n, err := strconv.ParseUint(addr.Zone(), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// zone is the name of an interface by its number: the number itself, which costs no system call.
func zone(index uint32) string { return strconv.FormatUint(uint64(index), 10) }

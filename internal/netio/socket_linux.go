package netio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"unsafe"

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
}

// NewPacketSocket prepares c, which it owns from now on. A socket that is bound to no address says of
// each datagram which of the machine's it was sent to.
func NewPacketSocket(c *net.UDPConn) (*PacketSocket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &PacketSocket{UDPConn: c, raw: raw, local: bound(c).Addr(), port: bound(c).Port()}
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
// choose. It waits while the socket has no room. An error is that of the first datagram that could
// not go out, and those after it are lost too.
func (s *PacketSocket) SendBatch(bs []*buf.Buffer, to netip.AddrPort, from netip.Addr) error {
	w := senders.Get().(*sender)
	defer w.put()
	for _, b := range bs {
		w.add(b.Bytes())
	}
	return w.send(s, to, from)
}

var senders = sync.Pool{New: func() any { return newSender() }}

// sender is the memory of a sendmmsg.
type sender struct {
	messages [BatchSize]mmsghdr
	iovecs   [BatchSize]unix.Iovec
	name     unix.RawSockaddrInet6
	control  [controlSize]byte
	n, sent  int
	write    func(fd uintptr) bool
	control0 func(fd uintptr)
	done     bool
	err      syscall.Errno
}

func newSender() *sender {
	w := new(sender)
	for i := range w.messages {
		h := &w.messages[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&w.name))
		h.Iov = &w.iovecs[i]
		h.SetIovlen(1)
	}
	w.write = w.flush
	w.control0 = func(fd uintptr) { w.done = w.flush(fd) }
	return w
}

// put forgets the datagrams.
func (w *sender) put() {
	for i := range w.n {
		w.iovecs[i] = unix.Iovec{}
	}
	w.n, w.sent, w.err, w.done = 0, 0, 0, false
	senders.Put(w)
}

func (w *sender) add(b []byte) {
	v := &w.iovecs[w.n]
	v.Base = unsafe.SliceData(b)
	v.SetLen(len(b))
	w.n++
}

// send tries without the lock that net.UDPConn has for writers, and waits with it.
func (w *sender) send(s *PacketSocket, to netip.AddrPort, from netip.Addr) error {
	size := w.address(s.v6, to)
	if size == 0 {
		return &net.AddrError{Err: "the socket has another family", Addr: to.String()}
	}
	if !s.local.IsUnspecified() {
		from = netip.Addr{}
	}
	w.headers(size, w.source(s.v6, from))
	err := w.attempt(s)
	if from.IsValid() && (w.err == unix.EINVAL || w.err == unix.EADDRNOTAVAIL || w.err == unix.ENETUNREACH) {
		w.err, w.done = 0, false // the address is gone, or was never one to send from
		w.headers(size, 0)
		err = w.attempt(s)
	}
	if err == nil && w.err != 0 {
		err = &net.OpError{Op: "write", Net: "udp", Err: w.err}
	}
	return err
}

func (w *sender) attempt(s *PacketSocket) error {
	err := s.raw.Control(w.control0)
	if err == nil && !w.done {
		err = s.raw.Write(w.write)
	}
	return err
}

// flush reports whether there is nothing left to wait for.
func (w *sender) flush(fd uintptr) bool {
	for w.sent < w.n {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd,
			uintptr(unsafe.Pointer(&w.messages[w.sent])), uintptr(w.n-w.sent), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			w.sent += int(n)
		case unix.EINTR, unix.ECONNREFUSED: // an ICMP answer to an earlier datagram is none of ours
		case unix.EAGAIN:
			return false
		default:
			w.err = errno
			return true
		}
	}
	return true
}

// address writes to as the socket wants it and returns its size, 0 when the socket cannot send there.
func (w *sender) address(v6 bool, to netip.AddrPort) uint32 {
	addr := to.Addr()
	if !v6 {
		if addr = addr.Unmap(); !addr.Is4() {
			return 0
		}
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&w.name))
		v4.Family, v4.Addr = unix.AF_INET, addr.As4()
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&v4.Port))[:], to.Port())
		return unix.SizeofSockaddrInet4
	}
	if !addr.IsValid() {
		return 0
	}
	w.name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: addr.As16(), Scope_id: scope(addr)}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&w.name.Port))[:], to.Port())
	return unix.SizeofSockaddrInet6
}

// source writes the control message that chooses the sending address, and returns its size.
func (w *sender) source(v6 bool, from netip.Addr) int {
	if !from.IsValid() {
		return 0
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&w.control[0]))
	if v6 {
		h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		h.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
		*(*unix.Inet6Pktinfo)(unsafe.Pointer(&w.control[unix.CmsgLen(0)])) = unix.Inet6Pktinfo{Addr: from.As16(), Ifindex: scope(from)}
		return unix.CmsgSpace(unix.SizeofInet6Pktinfo)
	}
	h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	*(*unix.Inet4Pktinfo)(unsafe.Pointer(&w.control[unix.CmsgLen(0)])) = unix.Inet4Pktinfo{Spec_dst: from.Unmap().As4()}
	return unix.CmsgSpace(unix.SizeofInet4Pktinfo)
}

func (w *sender) headers(nameSize uint32, controlSize int) {
	for i := range w.n {
		h := &w.messages[i].hdr
		h.Namelen = nameSize
		h.Control = nil
		if controlSize > 0 {
			h.Control = &w.control[0]
		}
		h.SetControllen(controlSize)
	}
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

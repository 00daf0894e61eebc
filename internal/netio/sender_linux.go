package netio

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxJoin is the longest payload of a datagram that goes out joined with others: what an Ethernet
// frame has room for behind IPv6. Longer ones would be fragmented, which the kernel refuses when joined.
const maxJoin = 1500 - 40 - 8

var senders = sync.Pool{New: func() any { return newSender() }}

// sender is the memory of a sendmmsg. Datagrams of one length that follow each other go through the
// kernel's stack as one, joined, and are cut by it, or by the network card, at the end (UDP_SEGMENT):
// a third of the cost. Where that cannot be, each is a message.
type sender struct {
	iovecs   [BatchSize]unix.Iovec // the datagrams
	n        int
	messages [BatchSize]mmsghdr
	starts   [BatchSize]int // the first datagram of each message
	count    int            // of messages
	sent     int            // messages that are done with
	name     unix.RawSockaddrInet6
	nameSize uint32
	controls [BatchSize]control
	pktinfo  int // size of the control message that chooses the address to send from
	source   control

	attempt func(fd uintptr)
	write   func(fd uintptr) bool
	done    bool
	refused int32 // the length for which the kernel would not cut
	broken  bool  // it would not cut at all
	err     syscall.Errno
}

func newSender() *sender {
	w := new(sender)
	for i := range w.messages {
		w.messages[i].hdr.Name = (*byte)(unsafe.Pointer(&w.name))
	}
	w.write = w.flush
	w.attempt = func(fd uintptr) { w.done = w.flush(fd) }
	return w
}

// put forgets the datagrams.
func (w *sender) put() {
	clear(w.iovecs[:w.n])
	w.n, w.count, w.sent, w.pktinfo = 0, 0, 0, 0
	w.done, w.refused, w.broken, w.err = false, 0, false, 0
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
	if w.nameSize = w.address(s.v6, to); w.nameSize == 0 {
		return &net.AddrError{Err: "the socket has another family", Addr: to.String()}
	}
	if s.local.IsUnspecified() && from.IsValid() {
		w.pktinfo = w.sourceFrom(s.v6, from)
	}
	w.form(0, int(s.join.Load()))
	err := s.raw.Control(w.attempt)
	if err == nil && !w.done {
		err = s.raw.Write(w.write)
	}
	switch {
	case w.broken:
		s.join.Store(0)
	case w.refused > 0 && w.err == 0: // each alone it went: the path has a small MTU
		s.join.Store(min(s.join.Load(), w.refused-1))
	}
	if err == nil && w.err != 0 {
		err = &net.OpError{Op: "write", Net: "udp", Err: w.err}
	}
	return err
}

// form makes messages of the datagrams from first on, joining those of one length up to join bytes, and
// a shorter one behind them.
func (w *sender) form(first, join int) {
	w.count, w.sent = 0, 0
	for i := first; i < w.n; {
		size := int(w.iovecs[i].Len)
		end := i + 1
		for size > 0 && size <= join && end < w.n && w.iovecs[end].Len > 0 && int(w.iovecs[end].Len) <= size {
			end++
			if int(w.iovecs[end-1].Len) < size {
				break
			}
		}
		w.message(i, end, size)
		i = end
	}
}

// message adds the datagrams from start to end, of size bytes each.
func (w *sender) message(start, end, size int) {
	h := &w.messages[w.count].hdr
	control := &w.controls[w.count].bytes
	w.starts[w.count] = start
	w.count++
	h.Namelen = w.nameSize
	h.Iov = &w.iovecs[start]
	h.SetIovlen(end - start)
	copy(control[:], w.source.bytes[:w.pktinfo])
	n := w.pktinfo
	if end-start > 1 {
		c := (*unix.Cmsghdr)(unsafe.Pointer(&control[n]))
		c.Level, c.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
		c.SetLen(unix.CmsgLen(2))
		*(*uint16)(unsafe.Pointer(&control[n+unix.CmsgLen(0)])) = uint16(size)
		n += unix.CmsgSpace(2)
	}
	h.Control = nil
	if n > 0 {
		h.Control = &control[0]
	}
	h.SetControllen(n)
}

// flush reports whether there is nothing left to wait for.
func (w *sender) flush(fd uintptr) bool {
	for w.sent < w.count {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd,
			uintptr(unsafe.Pointer(&w.messages[w.sent])), uintptr(w.count-w.sent), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			w.sent += int(n)
		case unix.EINTR, unix.ECONNREFUSED: // an ICMP answer to an earlier datagram is none of ours
		case unix.EAGAIN:
			return false
		default:
			w.failed(errno)
		}
	}
	return true
}

// failed finds another way for the message that was refused, or gives it up.
func (w *sender) failed(errno syscall.Errno) {
	start := w.starts[w.sent]
	switch joined := w.messages[w.sent].hdr.Iovlen > 1; {
	case joined:
		switch errno {
		case unix.EINVAL, unix.EMSGSIZE:
			w.refused = int32(w.iovecs[start].Len)
		case unix.EIO, unix.EOPNOTSUPP, unix.ENOPROTOOPT:
			w.broken = true
		}
		w.form(start, 0)
	case w.pktinfo > 0 && (errno == unix.EINVAL || errno == unix.EADDRNOTAVAIL || errno == unix.ENETUNREACH):
		w.pktinfo, w.refused = 0, 0 // the address is gone, or was never one to send from
		w.form(start, 0)
	default:
		if w.err == 0 {
			w.err = errno
		}
		w.sent++
	}
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

// sourceFrom writes the control message that chooses the sending address, and returns its size.
func (w *sender) sourceFrom(v6 bool, from netip.Addr) int {
	if !from.IsValid() {
		return 0
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&w.source.bytes[0]))
	if v6 {
		h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		h.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
		*(*unix.Inet6Pktinfo)(unsafe.Pointer(&w.source.bytes[unix.CmsgLen(0)])) = unix.Inet6Pktinfo{Addr: from.As16(), Ifindex: scope(from)}
		return unix.CmsgSpace(unix.SizeofInet6Pktinfo)
	}
	h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	*(*unix.Inet4Pktinfo)(unsafe.Pointer(&w.source.bytes[unix.CmsgLen(0)])) = unix.Inet4Pktinfo{Spec_dst: from.Unmap().As4()}
	return unix.CmsgSpace(unix.SizeofInet4Pktinfo)
}

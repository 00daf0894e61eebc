package netio

import (
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"github.com/sagernet/sing/common/buf"
	"golang.org/x/sys/unix"
)

// PacketWaiter receives datagrams and holds no buffer while it waits for one.
type PacketWaiter struct {
	raw  syscall.RawConn
	fill func(fd uintptr) bool
	buf  *buf.Buffer
	from unix.RawSockaddrInet6 // large enough for both families
	err  error
}

// NewPacketWaiter returns a waiter on c.
func NewPacketWaiter(c *net.UDPConn) (*PacketWaiter, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	w := &PacketWaiter{raw: raw}
	w.fill = w.read
	return w, nil
}

// Wait returns the next datagram, for Put, and its unmapped source.
func (w *PacketWaiter) Wait() (*buf.Buffer, netip.AddrPort, error) {
	w.buf, w.err = nil, nil
	if err := w.raw.Read(w.fill); err != nil {
		return nil, netip.AddrPort{}, err
	}
	b := w.buf
	w.buf = nil
	if w.err != nil {
		return nil, netip.AddrPort{}, w.err
	}
	return b, w.source(), nil
}

// read uses the bare system call: unix.Recvfrom allocates an address for every datagram.
func (w *PacketWaiter) read(fd uintptr) bool {
	b := GetPacket()
	free := b.FreeBytes()
	for {
		size := uint32(unsafe.Sizeof(w.from))
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, fd,
			uintptr(unsafe.Pointer(&free[0])), uintptr(len(free)), 0,
			uintptr(unsafe.Pointer(&w.from)), uintptr(unsafe.Pointer(&size)))
		switch errno {
		case 0:
			b.Truncate(int(n))
			w.buf = Filled(b)
			return true
		case unix.EINTR, unix.ECONNREFUSED:
			continue // an ICMP answer to an earlier datagram ends nothing
		case unix.EAGAIN:
			Put(b)
			return false
		}
		Put(b)
		w.err = &net.OpError{Op: "read", Net: "udp", Err: errno}
		return true
	}
}

func (w *PacketWaiter) source() netip.AddrPort {
	port := w.from.Port<<8 | w.from.Port>>8 // network order, read on a little-endian machine
	if bigEndian {
		port = w.from.Port
	}
	if w.from.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&w.from))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(w.from.Addr).Unmap(), port)
}

// bigEndian is a property of the machine, found out once.
var bigEndian = func() bool {
	one := uint16(1)
	return *(*byte)(unsafe.Pointer(&one)) == 0
}()

package netio

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"unsafe"

	"github.com/sagernet/sing/common/buf"
	"golang.org/x/sys/unix"
)

// controlSize holds IP_PKTINFO, IPV6_PKTINFO and UDP_SEGMENT or UDP_GRO.
const controlSize = 120

// control is the memory of control messages.
type control struct {
	_     [0]unix.Cmsghdr // aligned like one
	bytes [controlSize]byte
}

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// overflow is the room in bytes for what a datagram has beyond a small buffer.
const overflow = PacketSize - smallRead

// receiver is the memory of a recvmmsg, which is lent for the call alone: a small buffer for each
// datagram, and room for the rest of long ones. That room is touched, and so costs real memory, only
// once a long one has come.
type receiver struct {
	messages [BatchSize]mmsghdr
	iovecs   [BatchSize][2]unix.Iovec
	names    [BatchSize]unix.RawSockaddrInet6 // large enough for both families
	controls [BatchSize]control
	smalls   [BatchSize]*buf.Buffer
	rest     []byte
}

var receivers = sync.Pool{New: func() any { return newReceiver() }}

func newReceiver() *receiver {
	r := &receiver{rest: make([]byte, BatchSize*overflow)}
	for i := range r.messages {
		h := &r.messages[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Iov = &r.iovecs[i][0]
		h.SetIovlen(2)
		r.iovecs[i][1].Base = &r.rest[i*overflow]
		r.iovecs[i][1].SetLen(overflow)
		h.Control = &r.controls[i].bytes[0]
	}
	return r
}

// BatchReader receives several datagrams with one system call, and holds no buffer while it waits for
// them. It is for one goroutine, and from its first Read on nothing else may read from the socket: the
// kernel then joins datagrams of one length that come together (UDP_GRO), and the reader cuts them.
type BatchReader struct {
	joining bool // UDP_GRO was asked for
	raw     syscall.RawConn
	fill    func(fd uintptr) bool
	batch   *Batch
	err     error
	want    int        // datagrams to ask for
	local   netip.Addr // of all datagrams; unspecified: each may have its own
}

// NewBatchReader returns a reader on c.
func NewBatchReader(c *net.UDPConn) (*BatchReader, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &BatchReader{raw: raw, want: 1, local: AddrPort(c.LocalAddr()).Addr()}
	r.fill = r.read
	return r, nil
}

// Read waits for datagrams and returns those that are there. The batch is the caller's, for its Put.
// Datagrams without a payload are among them.
func (r *BatchReader) Read() (*Batch, error) {
	if !r.joining {
		r.joining = true
		_ = r.raw.Control(func(fd uintptr) { // kernels before 5.0 do without
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
		})
	}
	r.batch, r.err = nil, nil
	if err := r.raw.Read(r.fill); err != nil {
		return nil, err
	}
	b := r.batch
	r.batch = nil
	return b, r.err
}

func (r *BatchReader) read(fd uintptr) bool {
	m := receivers.Get().(*receiver)
	defer receivers.Put(m)
	m.prepare(r.want)
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd,
			uintptr(unsafe.Pointer(&m.messages[0])), uintptr(r.want), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			b := batches.Get().(*Batch)
			for i := range int(n) {
				b.datagrams = m.take(b.datagrams, i, r.local)
			}
			r.adapt(int(n))
			r.batch = b
			return true
		case unix.EINTR, unix.ECONNREFUSED:
			continue // an ICMP answer to an earlier datagram ends nothing
		case unix.EAGAIN:
			return false
		}
		r.err = &net.OpError{Op: "read", Net: "udp", Err: errno}
		return true
	}
}

// adapt asks for more while more come: the kernel's look for one that is not there is not free.
func (r *BatchReader) adapt(got int) {
	if got < r.want {
		r.want = got
	} else {
		r.want = min(2*got, BatchSize)
	}
}

// prepare makes n messages ready.
func (r *receiver) prepare(n int) {
	for i := range n {
		if r.smalls[i] == nil {
			b := GetSmall()
			r.smalls[i] = b
			r.iovecs[i][0].Base = &b.FreeBytes()[0]
			r.iovecs[i][0].SetLen(smallRead)
		}
		h := &r.messages[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(controlSize)
	}
}

// take appends the datagrams of message i to all.
func (r *receiver) take(all []Datagram, i int, local netip.Addr) []Datagram {
	m := &r.messages[i]
	b, n := r.smalls[i], int(m.len)
	reached, size := parseControl(r.controls[i].bytes[:m.hdr.Controllen])
	if local.IsUnspecified() {
		local = reached
	}
	d := Datagram{From: addrOf(&r.names[i]), Local: local}
	if size == 0 || size > n {
		size = n
	}
	if n <= smallRead && size == n {
		b.Truncate(n)
		r.smalls[i] = nil
		d.Buffer = Filled(b)
		return append(all, d)
	}
	// The small one stays for the next datagram.
	for at := 0; at < n; at += size {
		d.Buffer = r.cut(i, at, min(at+size, n))
		all = append(all, d)
	}
	return all
}

// cut copies the bytes from start to end of message i.
func (r *receiver) cut(i, start, end int) *buf.Buffer {
	var b *buf.Buffer
	if end-start <= smallRead {
		b = GetSmall()
	} else {
		b = GetPacket()
	}
	if start < smallRead {
		_, _ = b.Write(r.smalls[i].FreeBytes()[start:min(end, smallRead)])
	}
	if end > smallRead {
		_, _ = b.Write(r.rest[i*overflow:][max(0, start-smallRead) : end-smallRead])
	}
	return Filled(b)
}

// addrOf decodes a socket address as the kernel writes it.
func addrOf(from *unix.RawSockaddrInet6) netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&from.Port))[:])
	if from.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(from))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	}
	addr := netip.AddrFrom16(from.Addr).Unmap()
	if from.Scope_id != 0 && addr.IsLinkLocalUnicast() {
		addr = addr.WithZone(zone(from.Scope_id))
	}
	return netip.AddrPortFrom(addr, port)
}

// parseControl finds the address that a message was sent to, and the length of the datagrams that are
// joined in it, 0 when it is one.
func parseControl(control []byte) (local netip.Addr, size int) {
	for len(control) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		n := int(h.Len)
		if n < unix.CmsgLen(0) || n > len(control) {
			break
		}
		data := control[unix.CmsgLen(0):n]
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			local = netip.AddrFrom4((*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0])).Spec_dst)
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
			local = netip.AddrFrom16(info.Addr).Unmap()
			if local.IsLinkLocalUnicast() && local.Is6() {
				local = local.WithZone(zone(info.Ifindex))
			}
		case h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(data) >= 4:
			size = int(*(*int32)(unsafe.Pointer(&data[0])))
		}
		next := unix.CmsgSpace(len(data))
		if next >= len(control) {
			break
		}
		control = control[next:]
	}
	return local, max(0, size)
}

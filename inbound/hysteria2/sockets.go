package hysteria2

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"heki/internal/netio"
	"heki/internal/protocol/hysteria2"
)

const (
	// wireSize is more than any datagram of QUIC has here, salt included.
	wireSize = 2 << 10
	// recentPeers is for how many clients the address is kept that QUIC wants with each datagram; a power of
	// two.
	recentPeers = 1 << 10
)

// sockets is what QUIC sends and receives on where one plain socket will not do: datagrams that Salamander
// hides, or several ports. It is no more than a net.PacketConn on purpose: with the methods of
// *net.UDPConn QUIC would go round it. So it has neither segmentation offload nor ECN.
//
// It answers a client from the socket, and from the address of this machine, that the client reached.
type sockets struct {
	all     []*netio.PacketSocket
	hide    *hysteria2.Salamander // nil: nothing hides
	scratch sync.Pool             // of *[wireSize]byte
	loops   sync.WaitGroup
	batches chan received
	stop    chan struct{} // closed by Close
	over    sync.Once

	mu   sync.Mutex
	wake chan struct{} // closed: nobody may wait for a datagram

	// Of ReadFrom, which one goroutine calls.
	now    received
	next   int
	recent [recentPeers]*peer
}

// received is a batch and where it came.
type received struct {
	socket *netio.PacketSocket
	batch  *netio.Batch
}

// peer is a client as QUIC keeps it.
type peer struct {
	net.UDPAddr
	from   netip.AddrPort
	local  netip.Addr // that it reached; unmapped
	socket *netio.PacketSocket
	text   string // QUIC compares addresses by their text
}

// String implements net.Addr.
func (p *peer) String() string { return p.text }

// newSockets owns conns, at least one, from now on. An empty password hides nothing.
func newSockets(conns []*net.UDPConn, password string) (*sockets, error) {
	s := &sockets{
		batches: make(chan received), stop: make(chan struct{}), wake: make(chan struct{}),
		scratch: sync.Pool{New: func() any { return new([wireSize]byte) }},
	}
	if password != "" {
		s.hide = hysteria2.NewSalamander(password)
	}
	var errs []error
	for _, c := range conns {
		socket, err := netio.NewPacketSocket(c)
		errs = append(errs, err)
		s.all = append(s.all, socket)
	}
	if err := errors.Join(errs...); err != nil {
		for _, c := range conns {
			_ = c.Close()
		}
		return nil, err
	}
	for _, socket := range s.all {
		s.loops.Go(func() {
			netio.Receive(socket, s.stop, func(batch *netio.Batch) bool {
				select {
				case s.batches <- received{socket, batch}:
					return true
				case <-s.stop:
					batch.Put()
					return false
				}
			})
		})
	}
	return s, nil
}

// ReadFrom implements net.PacketConn. What is no datagram of a client is passed over without a word.
func (s *sockets) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		for s.now.batch != nil && s.next < len(s.now.batch.Datagrams()) {
			d := s.now.batch.Datagrams()[s.next]
			s.next++
			if n, ok := s.open(p, d.Buffer.Bytes()); ok {
				return n, s.peerOf(d.From, d.Local), nil
			}
		}
		if s.now.batch != nil {
			s.now.batch.Put()
			s.now = received{}
		}
		s.mu.Lock()
		wake := s.wake
		s.mu.Unlock()
		select {
		case s.now = <-s.batches:
			s.next = 0
		case <-wake:
			return 0, nil, os.ErrDeadlineExceeded
		case <-s.stop:
			return 0, nil, net.ErrClosed
		}
	}
}

func (s *sockets) open(p, b []byte) (int, bool) {
	if s.hide != nil {
		return s.hide.Open(p, b)
	}
	return copy(p, b), len(b) <= len(p)
}

// peerOf allocates when the client is new, or two that are active share a place.
func (s *sockets) peerOf(from netip.AddrPort, local netip.Addr) *peer {
	slot := &s.recent[from.Port()%recentPeers]
	if p := *slot; p != nil && p.from == from && p.local == local && p.socket == s.now.socket {
		return p
	}
	p := &peer{UDPAddr: *net.UDPAddrFromAddrPort(from), from: from, local: local, socket: s.now.socket, text: from.String()}
	*slot = p
	return p
}

// WriteTo implements net.PacketConn. A datagram that cannot be sent is lost, which QUIC knows how to
// handle.
func (s *sockets) WriteTo(b []byte, to net.Addr) (int, error) {
	socket, local := s.all[0], netip.Addr{} // whoever we have not heard of
	if p, ok := to.(*peer); ok {
		socket, local = p.socket, p.local
	}
	if err := s.send(socket, b, addrPort(to), local); errors.Is(err, net.ErrClosed) {
		return 0, err
	}
	return len(b), nil
}

func (s *sockets) send(socket *netio.PacketSocket, b []byte, to netip.AddrPort, from netip.Addr) error {
	if s.hide == nil {
		return socket.Send(b, to, from)
	}
	if len(b) > wireSize-hysteria2.SaltSize {
		return nil // cannot be
	}
	out := s.scratch.Get().(*[wireSize]byte) //nolint:forcetypeassert // nothing else is in there
	defer s.scratch.Put(out)
	var salt [hysteria2.SaltSize]byte
	binary.LittleEndian.PutUint64(salt[:], rand.Uint64())
	return socket.Send(out[:s.hide.Seal(out[:], b, salt[:])], to, from)
}

// Close implements net.PacketConn. It waits for the loops.
func (s *sockets) Close() error {
	var errs []error
	s.over.Do(func() {
		close(s.stop)
		for _, socket := range s.all {
			errs = append(errs, socket.Close())
		}
	})
	s.loops.Wait()
	return errors.Join(errs...)
}

// LocalAddr implements net.PacketConn: that of the first socket.
func (s *sockets) LocalAddr() net.Addr { return s.all[0].LocalAddr() }

// SetDeadline implements net.PacketConn.
func (s *sockets) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn as far as QUIC needs it: a time, which is the present one,
// wakes ReadFrom, and none lets it wait again.
func (s *sockets) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	woken := false
	select {
	case <-s.wake:
		woken = true
	default:
	}
	switch {
	case t.IsZero() && woken:
		s.wake = make(chan struct{})
	case !t.IsZero() && !woken:
		close(s.wake)
	}
	return nil
}

// SetWriteDeadline implements net.PacketConn. Writing waits for nobody but the kernel.
func (s *sockets) SetWriteDeadline(time.Time) error { return nil }

package muxcool

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/address"
	"heki/internal/protocol/muxio"
	"heki/internal/protocol/wire"
)

// replyHeader is the length in bytes of Keep with data, without its address.
const replyHeader = fixed + 1 + 2

var (
	_ N.PacketConn       = (*packetConn)(nil)
	_ N.PacketReadWaiter = (*packetConn)(nil)
)

// packet is one datagram of the client.
type packet struct {
	b  *buf.Buffer
	to M.Socksaddr
}

// packetConn is a packet session of the client. One in a registry moves between connections and may
// be without one for a while; then replies are dropped.
type packetConn struct {
	muxio.Deadlines
	destination   M.Socksaddr // of the first packet, and of those that name none
	local, remote net.Addr
	ready         chan struct{} // there is something to read, or the end

	registry *Registry // nil: the session ends with its connection
	key      sessionKey
	cancel   context.CancelFunc // ends the context of a session in the registry

	mu      sync.Mutex
	link    *link // nil while there is no connection
	queue   muxio.Fifo[packet]
	size    int // what queue costs in bytes
	err     error
	closed  bool
	failed  bool
	expiry  *time.Timer
	options N.ReadWaitOptions
}

func newPacketConn(s *server, id uint16, destination M.Socksaddr) *packetConn {
	return &packetConn{
		destination: destination,
		local:       s.conn.LocalAddr(),
		remote:      s.conn.RemoteAddr(),
		ready:       make(chan struct{}, 1),
		link:        newLink(s, id),
	}
}

// is reports whether the session has key in the registry.
func (p *packetConn) is(key sessionKey) bool { return p.registry != nil && p.key == key }

// deliver implements session. It never waits for the reader: a packet that finds the queue full, has
// a malformed address or no payload is dropped.
func (p *packetConn) deliver(f *Frame, body *wire.Body) error {
	to := f.Address
	switch {
	case f.Length == 0 || f.Network != 0 && !to.IsValid():
		return nil
	case f.Network == 0:
		to = p.destination
	}
	p.mu.Lock()
	options := p.options
	drop := p.closed || p.err != nil || p.queue.Len() >= packetQueue ||
		p.size > 0 && p.size+f.Length > packetBytes
	p.mu.Unlock()
	if drop {
		return nil
	}
	b, err := body.ReadBuffer(options)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.err != nil {
		b.Release()
		return nil
	}
	p.queue.Push(packet{b, to})
	p.size += muxio.Cost(b)
	muxio.Signal(p.ready)
	return nil
}

// waitLocked returns with mu held: with nil once there is a packet.
func (p *packetConn) waitLocked() error {
	for {
		p.mu.Lock()
		var err error
		switch {
		case p.closed:
			err = net.ErrClosed
		case p.Reading.Over():
			return os.ErrDeadlineExceeded
		case p.queue.Len() > 0:
			return nil
		case p.err != nil:
			err = p.err
		}
		if err != nil {
			muxio.Signal(p.ready) // for whoever else waits
			return err
		}
		p.mu.Unlock()
		select {
		case <-p.ready:
		case <-p.Reading.Done():
		}
	}
}

func (p *packetConn) popLocked() packet {
	pk := p.queue.Pop()
	p.size -= muxio.Cost(pk.b)
	return pk
}

// ReadPacket implements N.PacketReader: it returns where the packet goes. A packet for which buffer
// has no room is lost.
func (p *packetConn) ReadPacket(buffer *buf.Buffer) (M.Socksaddr, error) {
	for {
		if err := p.waitLocked(); err != nil {
			p.mu.Unlock()
			return M.Socksaddr{}, err
		}
		pk := p.popLocked()
		p.mu.Unlock()
		fits := buffer.FreeLen() >= pk.b.Len()
		if fits {
			_, _ = buffer.Write(pk.b.Bytes())
		}
		pk.b.Release()
		if fits {
			return pk.to, nil
		}
	}
}

// InitializeReadWaiter implements N.PacketReadWaiter.
func (p *packetConn) InitializeReadWaiter(options N.ReadWaitOptions) bool {
	p.mu.Lock()
	p.options = options
	p.mu.Unlock()
	return false
}

// WaitReadPacket implements N.PacketReadWaiter: what is queued is handed over as it is.
func (p *packetConn) WaitReadPacket() (*buf.Buffer, M.Socksaddr, error) {
	err := p.waitLocked()
	defer p.mu.Unlock()
	if err != nil {
		return nil, M.Socksaddr{}, err
	}
	pk := p.popLocked()
	return p.options.Copy(pk.b), pk.to, nil // a copy only when it was queued before the options
}

// WritePacket implements N.PacketWriter: source is where the packet came from. It owns b. Dropped are
// packets above MaxReply, and all while the session has no connection.
func (p *packetConn) WritePacket(b *buf.Buffer, source M.Socksaddr) error {
	defer func() { b.Release() }()
	p.mu.Lock()
	l, closed, ended := p.link, p.closed, p.err != nil
	p.mu.Unlock()
	switch {
	case closed:
		return net.ErrClosed
	case ended:
		return io.ErrClosedPipe
	case l == nil || b.Len() > MaxReply:
		return nil
	}
	length := b.Len()
	size := replyHeader + address.Size(source)
	b = wire.Headroom(b, size)
	AppendFrame(b.ExtendHeader(size)[:0], Frame{
		ID: l.id, Status: StatusKeep, Option: OptionData,
		Network: NetworkUDP, Address: source, Length: length,
	})
	err := l.Send(b.Bytes(), &p.Writing)
	if err == nil || os.IsTimeout(err) {
		return err
	}
	return p.writeError(err)
}

// writeError is what a failed send means: a session in the registry outlives its connection.
func (p *packetConn) writeError(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return net.ErrClosed
	case p.registry != nil:
		return nil
	}
	return err
}

// FrontHeadroom is the most that WritePacket puts before a packet.
func (p *packetConn) FrontHeadroom() int { return replyHeader + address.Max }

// HandshakeFailure makes Close tell the client that the session ended badly. It implements
// N.HandshakeFailure.
func (p *packetConn) HandshakeFailure(error) error {
	p.mu.Lock()
	p.failed = true
	p.mu.Unlock()
	return nil
}

// Close ends the session, without waiting for the client.
func (p *packetConn) Close() error {
	p.close(false)
	return nil
}

// close is Close, or nothing when expired is set and the session has a connection again.
func (p *packetConn) close(expired bool) {
	p.mu.Lock()
	if p.closed || expired && p.link != nil {
		p.mu.Unlock()
		return
	}
	p.closed = true
	failed, l := p.failed, p.link
	p.link = nil
	if p.expiry != nil {
		p.expiry.Stop()
	}
	for p.queue.Len() > 0 {
		p.popLocked().b.Release()
	}
	p.mu.Unlock()
	muxio.Signal(p.ready)
	p.StopTimers()
	if p.registry != nil {
		p.registry.remove(p)
		p.cancel()
	}
	if l != nil {
		p.leave(l, failed)
	}
}

// leave takes the session off a connection, which is told unless it knows.
func (p *packetConn) leave(l *link, failed bool) {
	l.Sever()
	l.s.drop(l.id, p, failed)
	if p.registry != nil { // its handler is not the connection's
		l.s.leave()
	}
}

// ended implements session. What is queued is still read.
func (p *packetConn) ended(s *server) { p.detach(s, io.EOF) }

// lost implements session.
func (p *packetConn) lost(s *server) { p.detach(s, ErrClosed) }

// LocalAddr returns the address of the connection that opened the session.
func (p *packetConn) LocalAddr() net.Addr { return p.local }

// RemoteAddr returns the address of the connection that opened the session.
func (p *packetConn) RemoteAddr() net.Addr { return p.remote }

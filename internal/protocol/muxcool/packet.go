package muxcool

import (
	"context"
	"errors"
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

// packetConn is a packet session of the client. One in a registry moves between connections and may
// be without one for a while; then replies are dropped.
type packetConn struct {
	muxio.Deadlines
	muxio.Packets
	destination   M.Socksaddr // of the first packet, and of those that name none
	local, remote net.Addr

	registry *Registry // nil: the session ends with its connection
	key      sessionKey
	cancel   context.CancelFunc // ends the context of a session in the registry

	mu     sync.Mutex
	link   *link // nil while there is no connection
	closed bool
	failed bool
	expiry *time.Timer
}

func newPacketConn(s *server, id uint16, destination M.Socksaddr) *packetConn {
	p := &packetConn{
		destination: destination,
		local:       s.conn.LocalAddr(),
		remote:      s.conn.RemoteAddr(),
		link:        newLink(s, id),
	}
	p.Init(&p.Reading)
	return p
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
	b := p.Room(f.Length)
	if b == nil {
		return nil
	}
	if err := body.ReadFull(b.Extend(f.Length)); err != nil {
		b.Release()
		return err
	}
	p.Put(b, to)
	return nil
}

// WritePacket implements N.PacketWriter: source is where the packet came from. It owns b. Dropped are
// packets above MaxReply, and all while the session has no connection.
func (p *packetConn) WritePacket(b *buf.Buffer, source M.Socksaddr) error {
	defer func() { b.Release() }()
	p.mu.Lock()
	l := p.link
	p.mu.Unlock()
	switch err := p.Ended(); {
	case errors.Is(err, net.ErrClosed):
		return err
	case err != nil:
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
	p.Shut()
	p.mu.Unlock()
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
		l.s.idle.Leave()
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

package hysteria2

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/sagernet/quic-go"
	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/inbound"
	"heki/internal/protocol/hysteria2"
	"heki/internal/protocol/muxio"
)

const (
	// maxSockets bounds the sockets of one connection.
	maxSockets = 1024
	// wholeSize is what is tried to be sent whole before a connection has said what fits, in bytes: QUIC
	// packets have 1200 at least, less what QUIC adds.
	wholeSize = 1200 - 3
)

var (
	_ N.PacketConn       = (*packetConn)(nil)
	_ N.PacketReadWaiter = (*packetConn)(nil)
)

// receive hands datagrams to the sockets of the session until it ends, and then waits for them.
func (s *session) receive(ctx context.Context, h *inbound.MuxHandler) error {
	var whole hysteria2.Reassembly
	host := ""
	defer s.closeSockets()
	for {
		b, err := s.conn.ReceiveDatagram(ctx)
		if err != nil {
			return err
		}
		d, n, err := hysteria2.ParseDatagram(b, host)
		if err != nil || n == len(b) {
			continue // official servers do not mind either
		}
		if d.Address.Fqdn != "" {
			host = d.Address.Fqdn
		}
		payload := b[n:]
		if d.Count > 1 {
			var ok bool
			if payload, ok = whole.Add(&d, payload, time.Now()); !ok {
				continue
			}
		}
		if p := s.socket(ctx, h, &d); p != nil {
			p.deliver(payload, d.Address)
		}
	}
}

// socket finds the one that d is for, or opens it; nil when there are too many.
func (s *session) socket(ctx context.Context, h *inbound.MuxHandler, d *hysteria2.Datagram) *packetConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.sockets[d.Session]; p != nil {
		return p
	}
	if s.closed || len(s.sockets) >= maxSockets {
		return nil
	}
	p := &packetConn{s: s, id: d.Session}
	p.Init(&p.Reading)
	s.sockets[d.Session] = p
	s.use()
	first := d.Address
	s.wg.Go(func() {
		defer p.Close()
		h.NewPacket(ctx, p, first)
	})
	return p
}

// closeSockets ends all.
func (s *session) closeSockets() {
	s.mu.Lock()
	s.closed = true
	all := make([]*packetConn, 0, len(s.sockets))
	for _, p := range s.sockets {
		all = append(all, p)
	}
	s.mu.Unlock()
	for _, p := range all {
		_ = p.Close()
	}
}

// packetConn is one socket of a client, with any number of destinations. Writing is for one goroutine at
// a time.
type packetConn struct {
	muxio.Deadlines
	muxio.Packets
	s       *session
	id      uint32
	packets atomic.Uint32 // sent in fragments
	scratch []byte        // of the fragments
}

// deliver queues a packet of the client, or drops it when the reader is behind.
func (p *packetConn) deliver(payload []byte, to M.Socksaddr) {
	b := p.Room(len(payload))
	if b == nil {
		return
	}
	_, _ = b.Write(payload)
	p.Put(b, to)
}

// WritePacket implements N.PacketWriter: source is where the packet came from. It owns b. One that the
// client could not take is dropped.
func (p *packetConn) WritePacket(b *buf.Buffer, source M.Socksaddr) error {
	defer b.Release()
	if err := p.Ended(); err != nil {
		return err
	}
	if b.IsEmpty() || b.Len() > hysteria2.MaxReply {
		return nil
	}
	d := hysteria2.Datagram{Session: p.id, Count: 1, Address: source}
	p.scratch = hysteria2.AppendDatagram(p.scratch[:0], d)
	header := len(p.scratch)
	size := wholeSize
	if header+b.Len() <= quicSize {
		p.scratch = append(p.scratch, b.Bytes()...)
		err := p.s.conn.SendDatagram(p.scratch)
		var large *quic.DatagramTooLargeError
		if !errors.As(err, &large) {
			return err
		}
		size = int(large.MaxDatagramPayloadSize) - 3 // as sing-quic: what the error says may be too much
	}
	return p.writeFragments(b.Bytes(), d, header, size)
}

// quicSize is more than any QUIC packet carries here: what is longer need not be tried whole.
const quicSize = 1452

// writeFragments sends payload in parts.
func (p *packetConn) writeFragments(payload []byte, d hysteria2.Datagram, header, size int) error {
	count, each := hysteria2.Fragments(len(payload), header, size)
	d.Packet, d.Count = uint16(p.packets.Add(1)%65535)+1, uint8(count) // never 0
	for i := range count {
		d.Index = uint8(i)
		part := payload[i*each : min((i+1)*each, len(payload))]
		p.scratch = append(hysteria2.AppendDatagram(p.scratch[:0], d), part...)
		if err := p.s.conn.SendDatagram(p.scratch); err != nil {
			var large *quic.DatagramTooLargeError
			if errors.As(err, &large) {
				return nil // the path has become narrower; the next packet knows
			}
			return err
		}
	}
	return nil
}

// Close ends the socket. The client is not told; it opens another one.
func (p *packetConn) Close() error {
	if !p.Shut() {
		return nil
	}
	p.StopTimers()
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.s.sockets[p.id] == p {
		delete(p.s.sockets, p.id)
	}
	return nil
}

// LocalAddr returns the address of the connection.
func (p *packetConn) LocalAddr() net.Addr { return p.s.conn.LocalAddr() }

// RemoteAddr returns the address of the connection.
func (p *packetConn) RemoteAddr() net.Addr { return p.s.conn.RemoteAddr() }

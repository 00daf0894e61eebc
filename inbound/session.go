package inbound

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/internal/netio"
	"heki/internal/protocol/muxio"
	"heki/internal/protocol/wire"
)

// sessionQueue is how many datagrams of a client wait for the router at most; more are dropped.
const sessionQueue = 32

// errEvicted ends a session that makes room for another one.
var errEvicted = errors.New("too many sessions: the longest silent one ended")

// Session is one client socket of one user. It is the N.PacketConn that the router gets.
type Session[K comparable, S Sealer] struct {
	table        *Sessions[K, S]
	key          K
	user         *adapter.User
	state        S
	newer, older *Session[K, S] // guarded by the shard's lock, as is listed
	listed       bool           // it is in the table
	heard        atomic.Int64   // when the client was last heard, in nanoseconds since the table began

	moved     atomic.Bool   // a datagram went either way since the sweeper looked
	beyondDNS atomic.Bool   // one went to another port than DNS's
	quiet     time.Duration // for the sweeper alone

	reading wire.Deadline
	ready   chan struct{} // there is something to read, or the end
	sealing sync.Mutex

	mu    sync.Mutex
	from  Endpoint // of the newest datagram
	queue muxio.Fifo[payload]
	ended bool
	cause error
}

// payload is one datagram of the client.
type payload struct {
	b  *buf.Buffer
	to M.Socksaddr
}

func newSession[K comparable, S Sealer](t *Sessions[K, S], key K, user *adapter.User, state S, from Endpoint) *Session[K, S] {
	s := &Session[K, S]{table: t, key: key, user: user, state: state, from: from, ready: make(chan struct{}, 1)}
	s.heard.Store(t.now())
	return s
}

// User is whose session it is.
func (s *Session[K, S]) User() *adapter.User { return s.user }

// State is what the protocol opened it with.
func (s *Session[K, S]) State() S { return s.state }

// Deliver passes a payload on to its destination. It owns b, never waits, and drops what a full queue
// has no room for. Answers go to from from now on: datagrams that may be replays are not for Deliver.
func (s *Session[K, S]) Deliver(b *buf.Buffer, to M.Socksaddr, from Endpoint) {
	s.touch()
	if to.Port != portDNS && !s.beyondDNS.Load() {
		s.beyondDNS.Store(true)
	}
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		netio.Put(b)
		return
	}
	if s.from != from {
		s.from = from
	}
	if s.queue.Len() >= sessionQueue {
		s.mu.Unlock()
		netio.Put(b)
		return
	}
	s.queue.Push(payload{b, to})
	s.mu.Unlock()
	muxio.Signal(s.ready)
}

// portDNS is the port of queries, which are over once answered.
const portDNS = 53

// touch notes that the client was heard.
func (s *Session[K, S]) touch() {
	s.heard.Store(s.table.now())
	s.note()
	sh := s.table.shard(s.key)
	sh.mu.Lock()
	if s.listed && s != sh.newest {
		sh.unlinkLocked(s)
		sh.pushLocked(s)
	}
	sh.mu.Unlock()
}

// note marks the session as alive. It writes only once between two looks of the sweeper.
func (s *Session[K, S]) note() {
	if !s.moved.Load() {
		s.moved.Store(true)
	}
}

// idle reports whether nothing moved for long enough. step is the time since the last look.
func (s *Session[K, S]) idle(step, limit time.Duration) bool {
	if s.moved.Load() {
		s.moved.Store(false)
		s.quiet = 0
		return false
	}
	s.quiet += step
	if !s.beyondDNS.Load() {
		limit = min(limit, dnsIdle)
	}
	return s.quiet >= limit
}

func (s *Session[K, S]) endpoint() Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from
}

func (s *Session[K, S]) hasEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// End ends the session; its user may open another one with the same key at once.
func (s *Session[K, S]) End() { s.end(nil) }

// end ends the session once. The cause is what reading returns, net.ErrClosed without one.
func (s *Session[K, S]) end(cause error) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended, s.cause = true, cause
	if cause == nil {
		s.cause = net.ErrClosed
	}
	for s.queue.Len() > 0 {
		netio.Put(s.queue.Pop().b)
	}
	s.mu.Unlock()
	s.table.forget(s)
	muxio.Signal(s.ready)
}

// Close implements N.PacketConn.
func (s *Session[K, S]) Close() error {
	s.end(nil)
	s.reading.Stop()
	return nil
}

// nextPayload waits for a payload.
func (s *Session[K, S]) nextPayload() (payload, error) {
	for {
		s.mu.Lock()
		switch {
		case s.ended:
			err := s.cause
			s.mu.Unlock()
			muxio.Signal(s.ready) // for whoever else waits
			return payload{}, err
		case s.queue.Len() > 0 && !s.reading.Over():
			p := s.queue.Pop()
			s.mu.Unlock()
			return p, nil
		}
		s.mu.Unlock()
		if s.reading.Over() {
			return payload{}, os.ErrDeadlineExceeded
		}
		select {
		case <-s.ready:
		case <-s.reading.Done():
		}
	}
}

// InitializeReadWaiter implements N.PacketReadWaiter. Buffers always have netio.Headroom.
func (s *Session[K, S]) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

// WaitReadPacket implements N.PacketReadWaiter: it returns a payload, for netio.Put, and where it goes.
func (s *Session[K, S]) WaitReadPacket() (*buf.Buffer, M.Socksaddr, error) {
	p, err := s.nextPayload()
	return p.b, p.to, err
}

// ReadPacket implements N.PacketConn. A payload for which b has no room is lost.
func (s *Session[K, S]) ReadPacket(b *buf.Buffer) (M.Socksaddr, error) {
	for {
		p, err := s.nextPayload()
		if err != nil {
			return M.Socksaddr{}, err
		}
		fits := b.FreeLen() >= p.b.Len()
		if fits {
			_, _ = b.Write(p.b.Bytes())
		}
		netio.Put(p.b)
		if fits {
			return p.to, nil
		}
	}
}

// WritePacket implements N.PacketConn: it sends b, which came from source, to the client. What cannot
// be sent is lost; only the end of the session is an error.
func (s *Session[K, S]) WritePacket(b *buf.Buffer, source M.Socksaddr) error {
	defer b.Release()
	s.mu.Lock()
	from, ended := s.from, s.ended
	s.mu.Unlock()
	if ended {
		return net.ErrClosed
	}
	s.note()
	out := s.roomy(b)
	s.sealing.Lock()
	err := s.state.Seal(out, source)
	s.sealing.Unlock()
	if err == nil {
		err = from.send(out.Bytes())
	}
	if out != b {
		netio.Put(out)
	}
	if errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// WritePackets implements netio.PacketsWriter.
func (s *Session[K, S]) WritePackets(packets []netio.Datagram) error {
	s.mu.Lock()
	from, ended := s.from, s.ended
	s.mu.Unlock()
	if ended {
		return net.ErrClosed
	}
	s.note()
	for len(packets) > 0 {
		n := min(len(packets), netio.BatchSize)
		if err := s.sendMany(&from, packets[:n]); errors.Is(err, net.ErrClosed) {
			return err
		}
		packets = packets[n:]
	}
	return nil
}

// sendMany sends at most netio.BatchSize packets.
func (s *Session[K, S]) sendMany(from *Endpoint, packets []netio.Datagram) error {
	var sealed [netio.BatchSize]*buf.Buffer
	out := sealed[:0]
	s.sealing.Lock()
	for i := range packets {
		d := &packets[i]
		if b := s.roomy(d.Buffer); b != d.Buffer {
			netio.Put(d.Buffer)
			d.Buffer = b
		}
		if s.state.Seal(d.Buffer, M.SocksaddrFromNetIP(d.From)) == nil {
			out = append(out, d.Buffer)
		}
	}
	s.sealing.Unlock()
	return from.socket.SendBatch(out, from.peer, from.Local.Addr())
}

// roomy returns b, or a copy when b has no room for what Seal adds.
func (s *Session[K, S]) roomy(b *buf.Buffer) *buf.Buffer {
	if front, rear := s.state.Headroom(); b.Start() >= front && b.FreeLen() >= rear {
		return b
	}
	return netio.Clone(b)
}

// LocalAddr implements N.PacketConn.
func (s *Session[K, S]) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(s.endpoint().Local)
}

// RemoteAddr is the client's address.
func (s *Session[K, S]) RemoteAddr() net.Addr {
	return net.UDPAddrFromAddrPort(s.endpoint().Source)
}

// SetDeadline implements N.PacketConn.
func (s *Session[K, S]) SetDeadline(at time.Time) error { return s.SetReadDeadline(at) }

// SetReadDeadline implements N.PacketConn.
func (s *Session[K, S]) SetReadDeadline(at time.Time) error {
	s.reading.Set(at)
	return nil
}

// SetWriteDeadline implements N.PacketConn. Writing never waits long.
func (s *Session[K, S]) SetWriteDeadline(time.Time) error { return nil }

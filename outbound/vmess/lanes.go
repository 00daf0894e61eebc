package vmess

import (
	"context"
	"net"
	"os"
	"sync"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/netio"
	"heki/internal/protocol/wire"
)

const (
	// maxLanes bounds the streams of a packet session: the oldest makes room.
	maxLanes = 64
	// maxQueue bounds the packets that wait for their stream to open.
	maxQueue = 16
)

var (
	_ N.PacketConn       = (*lanes)(nil)
	_ N.PacketReadWaiter = (*lanes)(nil)
)

// openFunc opens a stream of packets to and from one destination.
type openFunc func(ctx context.Context, dst M.Socksaddr) (N.PacketConn, error)

// lanes is a packet session with a stream for each destination. Reading and writing are for one
// goroutine each.
type lanes struct {
	open     openFunc
	ctx      context.Context // of streams that open
	cancel   context.CancelFunc
	packets  chan packet // of all streams
	deadline wire.Deadline
	first    N.PacketConn // for addresses
	running  sync.WaitGroup

	mu     sync.Mutex
	byDst  map[M.Socksaddr]*lane
	order  []*lane // oldest first
	closed bool
}

// packet is one that came.
type packet struct {
	b    *buf.Buffer
	from M.Socksaddr
}

// lane is one stream.
type lane struct {
	dst M.Socksaddr

	mu    sync.Mutex
	conn  N.PacketConn  // nil while it opens
	queue []*buf.Buffer // until then
	done  bool
}

// newLanes begins a session with the stream to dst, so that a server that is not there is told.
func newLanes(ctx context.Context, open openFunc, dst M.Socksaddr) (*lanes, error) {
	conn, err := open(ctx, dst)
	if err != nil {
		return nil, err
	}
	s := &lanes{open: open, first: conn, packets: make(chan packet), byDst: make(map[M.Socksaddr]*lane)}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l := &lane{dst: dst, conn: conn}
	s.byDst[dst], s.order = l, append(s.order, l)
	s.running.Go(func() { s.read(l, conn) })
	return s, nil
}

// lane returns the one to dst, which may be on its way still, or nil after Close.
func (s *lanes) lane(dst M.Socksaddr) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if l := s.byDst[dst]; l != nil {
		return l
	}
	if len(s.order) >= maxLanes {
		old := s.order[0]
		s.forgetLocked(old)
		old.end()
	}
	l := &lane{dst: dst}
	s.byDst[dst], s.order = l, append(s.order, l)
	s.running.Go(func() { s.run(l) })
	return l
}

// run opens a stream and reads from it. A destination that cannot be reached loses its packets, not the
// session.
func (s *lanes) run(l *lane) {
	conn, err := s.open(s.ctx, l.dst)
	if err != nil {
		s.drop(l)
		return
	}
	if !l.begin(conn) {
		_ = conn.Close()
		return
	}
	s.read(l, conn)
}

// read hands over what comes until the stream ends.
func (s *lanes) read(l *lane, conn N.PacketConn) {
	defer s.drop(l)
	w, ok := conn.(N.PacketReadWaiter)
	if !ok {
		return // never: VMess's are
	}
	w.InitializeReadWaiter(netio.Room)
	for {
		b, from, err := w.WaitReadPacket()
		if err != nil {
			return
		}
		select {
		case s.packets <- packet{b, from}:
		case <-s.ctx.Done():
			netio.Put(b)
			return
		}
	}
}

// drop ends l and forgets it: the next packet to there opens another.
func (s *lanes) drop(l *lane) {
	s.mu.Lock()
	s.forgetLocked(l)
	s.mu.Unlock()
	l.end()
}

func (s *lanes) forgetLocked(l *lane) {
	if s.byDst[l.dst] != l {
		return
	}
	delete(s.byDst, l.dst)
	for i := range s.order {
		if s.order[i] == l {
			s.order = append(s.order[:i], s.order[i+1:]...)
			return
		}
	}
}

// begin sends what waited for conn, and reports false when nobody waits any more.
func (l *lane) begin(conn N.PacketConn) bool {
	l.mu.Lock()
	done, queue := l.done, l.queue
	if !done {
		l.conn, l.queue = conn, nil
	}
	l.mu.Unlock()
	if done {
		return false
	}
	for _, b := range queue {
		_ = conn.WritePacket(b, l.dst) // an error ends the reading too
		netio.Put(b)
	}
	return true
}

// write sends b, or keeps a copy until the stream is open. An error is the stream's.
func (l *lane) write(b *buf.Buffer) {
	l.mu.Lock()
	conn := l.conn
	if conn == nil && !l.done && len(l.queue) < maxQueue {
		l.queue = append(l.queue, netio.Clone(b))
	}
	l.mu.Unlock()
	if conn == nil {
		b.Release()
		return
	}
	if conn.WritePacket(b, l.dst) != nil {
		_ = conn.Close() // whoever reads forgets it
	}
}

// end closes the stream and gives up what waits for it.
func (l *lane) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = true
	for _, b := range l.queue {
		netio.Put(b)
	}
	l.queue = nil
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

// WritePacket implements N.PacketWriter. It owns b.
func (s *lanes) WritePacket(b *buf.Buffer, dst M.Socksaddr) error {
	l := s.lane(dst)
	if l == nil {
		b.Release()
		return net.ErrClosed
	}
	l.write(b)
	return nil
}

// InitializeReadWaiter implements N.PacketReadWaiter.
func (s *lanes) InitializeReadWaiter(N.ReadWaitOptions) bool { return false }

// WaitReadPacket implements N.PacketReadWaiter.
func (s *lanes) WaitReadPacket() (*buf.Buffer, M.Socksaddr, error) {
	select {
	case p := <-s.packets:
		return p.b, p.from, nil
	case <-s.ctx.Done():
		return nil, M.Socksaddr{}, net.ErrClosed
	case <-s.deadline.Done():
		return nil, M.Socksaddr{}, os.ErrDeadlineExceeded
	}
}

// ReadPacket implements N.PacketReader. A packet for which b has no room is lost.
func (s *lanes) ReadPacket(b *buf.Buffer) (M.Socksaddr, error) {
	for {
		p, from, err := s.WaitReadPacket()
		if err != nil {
			return M.Socksaddr{}, err
		}
		fits := p.Len() <= b.FreeLen()
		if fits {
			_, _ = b.Write(p.Bytes())
		}
		netio.Put(p)
		if fits {
			return from, nil
		}
	}
}

// Close ends all streams.
func (s *lanes) Close() error {
	s.mu.Lock()
	s.closed = true
	all := s.order
	s.order, s.byDst = nil, nil
	s.mu.Unlock()
	s.cancel()
	s.deadline.Stop()
	for _, l := range all {
		l.end()
	}
	s.running.Wait()
	return nil
}

// LocalAddr returns the address of the first stream.
func (s *lanes) LocalAddr() net.Addr { return s.first.LocalAddr() }

// SetDeadline implements N.PacketConn.
func (s *lanes) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }

// SetReadDeadline implements N.PacketConn.
func (s *lanes) SetReadDeadline(t time.Time) error {
	s.deadline.Set(t)
	return nil
}

// SetWriteDeadline implements N.PacketConn. Writing to a stream that opens does not wait.
func (s *lanes) SetWriteDeadline(time.Time) error { return nil }

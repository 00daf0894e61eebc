package muxcool

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"heki/internal/protocol/muxio"
	"heki/internal/protocol/wire"
)

// session is a stream or a packet session as the reading goroutine sees it.
type session interface {
	// deliver takes the payload of f from body, or leaves it there to be dropped. It may wait a few
	// seconds. An error ends the connection.
	deliver(f *Frame, body *wire.Body) error
	// ended says that the client ended it on s.
	ended(s *server)
	// lost says that s is gone.
	lost(s *server)
}

// server is one connection.
type server struct {
	ctx    context.Context
	conn   wire.Conn
	opt    Options
	out    *muxio.Outbox
	body   wire.Body
	frame  Frame          // the one being read; here so that it costs no allocation
	host   string         // the last host read
	wg     sync.WaitGroup // handlers
	queued atomic.Int64   // bytes in the queues of all streams

	idle *muxio.Idle

	mu       sync.Mutex
	sessions map[uint16]session
	recent   []uint16 // ids that an End went out for, oldest first
}

func newServer(ctx context.Context, conn wire.Conn, opt Options) *server {
	s := &server{
		ctx:      ctx,
		conn:     conn,
		opt:      opt,
		out:      muxio.NewOutbox(conn, maxEnds*endSize),
		body:     wire.Body{Source: conn},
		sessions: make(map[uint16]session),
	}
	s.idle = muxio.NewIdle(opt.IdleTimeout, func() { _ = conn.Close() })
	return s
}

// loop reads frames until the connection ends.
func (s *server) loop() error {
	for {
		if err := s.next(); err != nil {
			return s.idle.Outcome(s.ctx, err)
		}
	}
}

// next reads and handles one frame.
func (s *server) next() error {
	if err := s.body.Resync(); err != nil {
		return err
	}
	if err := s.readFrame(); err != nil {
		return err
	}
	f := &s.frame
	switch f.Status {
	case StatusNew:
		return s.open(f)
	case StatusKeep:
		if f.HasData() {
			return s.keep(f)
		}
	case StatusEnd:
		if ss := s.take(f.ID); ss != nil {
			ss.ended(s)
		}
	}
	return nil // KeepAlive means nothing, whatever its id
}

// readFrame waits for a frame and consumes its header.
func (s *server) readFrame() error {
	f, n, err := peekFrame(s.conn, s.host)
	if err != nil {
		return err
	}
	if f.Address.Fqdn != "" {
		s.host = f.Address.Fqdn
	}
	s.frame = f
	return s.body.Begin(n, f.Length)
}

// keep hands data to its session. Data of a session that we do not have is dropped, and the client
// told, once.
func (s *server) keep(f *Frame) error {
	s.mu.Lock()
	ss := s.sessions[f.ID]
	told := ss == nil && slices.Contains(s.recent, f.ID)
	s.mu.Unlock()
	if ss != nil {
		return ss.deliver(f, &s.body)
	}
	if !told {
		s.refuse(f.ID, false)
	}
	return nil
}

// refuse sends an End for an id that has no session.
func (s *server) refuse(id uint16, failed bool) {
	s.mu.Lock()
	s.rememberLocked(id)
	s.mu.Unlock()
	s.end(id, failed)
}

// open starts a session, or refuses it alone.
func (s *server) open(f *Frame) error {
	s.mu.Lock()
	live := s.sessions[f.ID]
	s.mu.Unlock()
	full := s.idle.Active() >= s.opt.MaxStreams
	switch {
	case live != nil:
		// An End would hit the session that has this id, so this is refused in silence; only a
		// socket that announces itself again is served on.
		if p, ok := live.(*packetConn); ok && p.is(s.key(f)) {
			return p.deliver(f, &s.body)
		}
		return nil
	case full || !f.Address.IsValid():
		s.refuse(f.ID, true)
		return nil
	case f.Network == NetworkUDP:
		return s.openPacket(f)
	}
	st := newStream(s, f.ID)
	s.add(f.ID, st)
	dst := f.Address
	s.wg.Go(func() {
		defer s.idle.Leave()
		defer st.Close()
		s.opt.Handler.NewStream(s.ctx, st, dst)
	})
	return deliverFirst(st, f, &s.body)
}

// openPacket starts a packet session, or attaches the one that the same client socket already has.
func (s *server) openPacket(f *Frame) error {
	key := s.key(f)
	if p := s.opt.Registry.attach(key, s, f.ID); p != nil {
		return deliverFirst(p, f, &s.body)
	}
	p := newPacketConn(s, f.ID, f.Address)
	if s.opt.Registry.add(key, p, s.opt.Handler) {
		return deliverFirst(p, f, &s.body)
	}
	s.add(f.ID, p)
	dst := f.Address
	s.wg.Go(func() {
		defer s.idle.Leave()
		defer p.Close()
		s.opt.Handler.NewPacket(s.ctx, p, dst)
	})
	return deliverFirst(p, f, &s.body)
}

func deliverFirst(ss session, f *Frame, body *wire.Body) error {
	if !f.HasData() {
		return nil
	}
	return ss.deliver(f, body)
}

// add puts a new session in its place. Only the reading goroutine adds.
func (s *server) add(id uint16, ss session) {
	s.idle.Enter()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[id] = ss
	if i := slices.Index(s.recent, id); i >= 0 {
		s.recent = slices.Delete(s.recent, i, i+1)
	}
}

// take removes and returns the session with this id, or nil.
func (s *server) take(id uint16) session {
	s.mu.Lock()
	defer s.mu.Unlock()
	ss := s.sessions[id]
	delete(s.sessions, id)
	return ss
}

// drop removes ss, which ends on our side, and tells the client once. It does nothing when the client
// or the connection was first.
func (s *server) drop(id uint16, ss session, failed bool) {
	s.mu.Lock()
	here := s.sessions[id] == ss
	if here {
		delete(s.sessions, id)
		s.rememberLocked(id)
	}
	s.mu.Unlock()
	if here {
		s.end(id, failed)
	}
}

// end sends an End for id without waiting.
func (s *server) end(id uint16, failed bool) {
	f := Frame{ID: id, Status: StatusEnd}
	if failed {
		f.Option = OptionError
	}
	s.out.Queue(AppendFrame(make([]byte, 0, endSize), f))
}

// rememberLocked notes that an End goes out for id, so that data already on its way causes no second.
func (s *server) rememberLocked(id uint16) {
	if slices.Contains(s.recent, id) {
		return
	}
	if len(s.recent) == rememberEnds {
		s.recent = slices.Delete(s.recent, 0, 1)
	}
	s.recent = append(s.recent, id)
}

// shutdown closes the connection and tells the sessions.
func (s *server) shutdown() {
	s.idle.Stop()
	s.mu.Lock()
	sessions := s.sessions
	s.sessions = nil
	s.mu.Unlock()
	s.out.Close()
	for _, ss := range sessions {
		ss.lost(s)
	}
	s.out.Wait()
}

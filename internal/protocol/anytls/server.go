package anytls

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"heki/internal/protocol/muxio"
	"heki/internal/protocol/wire"
)

// server is one session.
type server struct {
	ctx     context.Context
	conn    wire.Conn
	opt     Options
	out     *muxio.Outbox
	body    wire.Body
	wg      sync.WaitGroup // handlers
	queued  atomic.Int64   // bytes in the queues of all streams
	settled bool           // the client has sent its settings
	version atomic.Int32   // what the client speaks

	idle *muxio.Idle

	mu      sync.Mutex
	streams map[uint32]*stream
}

func newServer(ctx context.Context, conn wire.Conn, opt Options) *server {
	s := &server{
		ctx: ctx, conn: conn, opt: opt,
		out:     muxio.NewOutbox(conn, maxPending),
		body:    wire.Body{Source: conn},
		streams: make(map[uint32]*stream),
	}
	s.version.Store(1)
	s.idle = muxio.NewIdle(opt.IdleTimeout, func() { _ = conn.Close() })
	return s
}

// loop reads frames until the session ends.
func (s *server) loop() error {
	for {
		if err := s.next(); err != nil {
			return s.idle.Outcome(s.ctx, err)
		}
	}
}

// next reads and handles one frame. What it leaves of the data is dropped by the next call.
func (s *server) next() error {
	if err := s.body.Resync(); err != nil {
		return err
	}
	b, err := wire.PeekFrame(s.conn, 0, headerSize)
	if err != nil {
		return err
	}
	f, n, err := ParseFrame(b)
	if err != nil {
		return err
	}
	if err := s.body.Begin(n, f.Length); err != nil {
		return err
	}
	switch f.Command {
	case CommandSYN:
		return s.open(f.Stream)
	case CommandPSH:
		if st := s.find(f.Stream); st != nil {
			return st.deliver(f.Length)
		}
	case CommandFIN:
		if st := s.take(f.Stream); st != nil {
			st.ended()
		}
	case CommandSettings:
		return s.settle(f.Length)
	case CommandAlert:
		return s.alerted(f.Length)
	case CommandHeartRequest:
		s.out.Queue(AppendFrame(nil, Frame{Command: CommandHeartResponse, Stream: f.Stream}))
	}
	return nil // padding, and what is not for a server
}

// text reads the start of a frame's data.
func (s *server) text(length, most int) ([]byte, error) {
	b := make([]byte, min(length, most))
	err := s.body.ReadFull(b)
	return b, err
}

// settle takes the client's settings. A client with another padding scheme is told ours, for its next
// session.
func (s *server) settle(length int) error {
	if length > maxSettings {
		return fmt.Errorf("%w: settings of %d bytes", ErrBadRequest, length)
	}
	text, err := s.text(length, maxSettings)
	if err != nil {
		return err
	}
	settings := ParseSettings(text)
	s.settled = true
	var out []byte
	if settings.PaddingMD5 != s.opt.Scheme.MD5() {
		out = appendText(out, CommandUpdatePadding, 0, s.opt.Scheme.Text())
	}
	if settings.Version >= 2 {
		s.version.Store(2)
		out = appendText(out, CommandServerSettings, 0, string(AppendSettings(nil, Settings{Version: 2})))
	}
	if len(out) > 0 {
		s.out.Queue(out)
	}
	return nil
}

// alerted ends the session with the client's reason.
func (s *server) alerted(length int) error {
	text, err := s.text(length, maxAlert)
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %q", ErrAlert, text)
}

// open starts a stream, or refuses it alone.
func (s *server) open(id uint32) error {
	if !s.settled {
		s.out.Queue(appendText(nil, CommandAlert, 0, ErrNoSettings.Error()))
		s.out.Flushed(alertTimeout)
		return ErrNoSettings
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.streams[id] != nil: // an answer would hit the stream that has this id
		return nil
	case s.idle.Active() >= s.opt.MaxStreams:
		s.out.Queue(s.refusal(id, "too many streams"))
		return nil
	}
	st := newStream(s, id)
	s.streams[id] = st
	s.idle.Enter()
	s.wg.Go(func() {
		defer s.idle.Leave()
		defer st.Close()
		st.serve()
	})
	return nil
}

// refusal is what ends a stream that did not come about. Version 1 has no way to say why.
func (s *server) refusal(id uint32, why string) []byte {
	var out []byte
	if s.version.Load() >= 2 {
		out = appendText(out, CommandSYNACK, id, why)
	}
	return AppendFrame(out, Frame{Command: CommandFIN, Stream: id})
}

// find returns the stream with this id, or nil.
func (s *server) find(id uint32) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id]
}

// take removes and returns the stream with this id, or nil.
func (s *server) take(id uint32) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	delete(s.streams, id)
	return st
}

// drop removes st, which ends on our side, and reports whether it was still there: the client or the
// end of the session may have been first.
func (s *server) drop(st *stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[st.id] != st {
		return false
	}
	delete(s.streams, st.id)
	return true
}

// alone reports whether nobody else is held up when the session waits for one stream.
func (s *server) alone() bool { return s.idle.Active() <= 1 }

// shutdown closes the session and tells the streams.
func (s *server) shutdown() {
	s.idle.Stop()
	s.mu.Lock()
	streams := s.streams
	s.streams = nil
	s.mu.Unlock()
	s.out.Close()
	for _, st := range streams {
		st.finish(muxio.ErrClosed)
	}
	s.out.Wait()
}

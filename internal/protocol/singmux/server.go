package singmux

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"

	"heki/internal/protocol/wire"
)

// server is one connection.
type server struct {
	ctx  context.Context
	conn *carrier
	opt  Options
	wg   sync.WaitGroup // streams

	mu     sync.Mutex
	active int // streams, those that are refused included
	closed bool
	err    error // why we closed the connection; io.EOF: it idled
	idle   *time.Timer
}

func newServer(ctx context.Context, conn *carrier, opt Options) *server {
	s := &server{ctx: ctx, conn: conn, opt: opt}
	s.mu.Lock()
	s.idle = time.AfterFunc(opt.IdleTimeout, s.idleOut)
	s.mu.Unlock()
	return s
}

// stream is one stream of a session.
//
// Close may come from anywhere, and never waits for the client: it ends reading, and writing that
// waits for a window. The client is told by finish. Without a half-close CloseWrite is Close, after
// which reading ends in order.
type stream interface {
	net.Conn
	CloseWrite() error
	// finish ends the stream towards the client. It comes last, when nobody reads or writes.
	finish()
}

// accept serves raw on a goroutine of its own.
func (s *server) accept(raw stream) {
	fits, ok := s.enter()
	if !ok {
		return
	}
	go func() {
		defer s.leave()
		defer raw.finish()
		if fits {
			s.serve(raw)
		}
	}()
}

// enter takes a place for a stream, for leave to give back. fits is false when there are too many: it
// is only to be closed. When many of those pile up, as their client does not let them go, the
// connection ends. ok is false when it has ended; then there is no place.
func (s *server) enter() (fits, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, false
	}
	s.wg.Add(1)
	s.active++
	s.idle.Stop()
	if s.active > 2*s.opt.MaxStreams {
		s.abortLocked(ErrTooManyStreams)
	}
	return s.active <= s.opt.MaxStreams, true
}

func (s *server) leave() {
	s.mu.Lock()
	s.active--
	if s.active == 0 && !s.closed {
		s.idle.Reset(s.opt.IdleTimeout)
	}
	s.mu.Unlock()
	s.wg.Done()
}

// abortLocked ends the connection and says why.
func (s *server) abortLocked(err error) {
	if s.err == nil {
		s.err = err
	}
	go s.conn.Close() // it may write
}

// idleOut closes a connection that still has no stream.
func (s *server) idleOut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == 0 && !s.closed {
		s.abortLocked(io.EOF)
	}
}

// ended says what the end of a session by err means.
func (s *server) ended(err error) error {
	s.mu.Lock()
	if s.err != nil {
		err = s.err
	}
	s.mu.Unlock()
	switch {
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	case err == io.EOF:
		return nil
	}
	return err
}

// shutdown closes the connection. No stream comes after it.
func (s *server) shutdown() {
	s.mu.Lock()
	s.closed = true
	s.idle.Stop()
	s.mu.Unlock()
	_ = s.conn.Close()
}

// serve reads the request of raw and hands it to the handler.
func (s *server) serve(raw stream) {
	defer raw.Close()
	conn := s.opt.Ahead(raw)
	if c, ok := conn.(interface{ Drop() }); ok {
		defer c.Drop() // what was read ahead and not used
	}
	timer := time.AfterFunc(requestTimeout, func() { _ = raw.Close() })
	req, err := wire.ReadHeader(conn, ParseRequest)
	timer.Stop()
	switch {
	case err != nil:
		return
	case req.UDP:
		destination := req.Destination
		if IsDestination(destination) { // stands for none
			destination.Fqdn, destination.Port = "", 0
		}
		s.opt.Handler.NewPacket(s.ctx, newPacketConn(conn, raw, req), destination)
	case req.Destination.Fqdn == brutalHost:
		refuseBrutal(conn)
	default:
		s.opt.Handler.NewStream(s.ctx, &streamConn{Conn: conn, raw: raw}, req.Destination)
	}
}

// brutalHost is the destination by which a client tells how fast it wants to receive, and asks how
// fast it may send, for the congestion control TCP Brutal, a kernel module.
const brutalHost = "_BrutalBwExchange"

// refuseBrutal answers that there is none, as sing-box does where it is off.
//
//	client: | bytes per second u64be |   server: | status 0 | agreed 0 | length uvarint | message |
func refuseBrutal(conn wire.Conn) {
	_, err := wire.ReadHeader(conn, func(b []byte) (uint64, int, error) {
		if len(b) < 8 {
			return 0, 0, ErrShort
		}
		return binary.BigEndian.Uint64(b), 8, nil
	})
	if err == nil {
		_, _ = conn.Write(appendText([]byte{statusSuccess, 0}, "brutal is not served here"))
	}
}

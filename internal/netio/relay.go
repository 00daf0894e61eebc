package netio

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	N "github.com/sagernet/sing/common/network"
)

// ErrIdle ends a relay on which nothing moved for too long.
var ErrIdle = errors.New("idle for too long")

// Relay says how two connections are joined. The zero value counts nothing and never gives up.
type Relay struct {
	// Up and Down are told how many bytes went towards the remote and the client, after each chunk
	// of at most 64 KiB. They may sleep to pace; each is called from one goroutine.
	Up, Down func(n int64)
	// Paced says whether chunks should stay small now; nil means never.
	Paced func() bool
	// Idle ends the relay when nothing moved for so long, give or take a quarter; 0 is never.
	Idle time.Duration
	// HalfClosed takes Idle's place once one side has finished; 0 keeps Idle.
	HalfClosed time.Duration
	// PassReset answers a reset of one side, also one that comes after its end, with a reset of the other
	// one, which sees an ordinary end otherwise: for those who must not tell the relay from the remote.
	PassReset bool
}

// Run copies both ways until both sides have finished, or one fails, and closes both connections.
// An end of one side is passed on as a half-close. The error is nil when both sides finished.
func (r *Relay) Run(client, remote net.Conn) error {
	s := &session{client: client, remote: remote, moved: new(atomic.Int64)}
	s.watch(r.Idle)
	var wg sync.WaitGroup
	wg.Go(func() { s.carry(r, remote, client, r.Up) })
	s.carry(r, client, remote, r.Down)
	wg.Wait()
	s.stop()
	_ = client.Close()
	_ = remote.Close()
	return s.err
}

// session is one running relay.
type session struct {
	client, remote net.Conn
	moved          *atomic.Int64 // bytes both ways; the idle watch looks at its change
	mute           atomic.Bool   // an end could not be passed on

	mu       sync.Mutex
	finished int
	err      error
	timer    *time.Timer
	idle     time.Duration
	seen     int64
	quiet    int // quarters of idle without a byte
}

// carry serves one direction, and then waits for a late reset of its source.
func (s *session) carry(r *Relay, dst, src net.Conn, count func(int64)) {
	err := s.copy(dst, src, count, r.Paced)
	s.finish(r, err)
	if err == nil && r.PassReset {
		if err := awaitReset(src); err != nil {
			s.finish(r, err)
		}
	}
}

// finish notes the end of one direction: a failure ends the other one too.
func (s *session) finish(r *Relay, err error) {
	s.mu.Lock()
	s.finished++
	if s.err == nil {
		s.err = err
	}
	failed := s.err != nil
	first := s.finished == 1
	s.mu.Unlock()
	if failed {
		if r.PassReset && IsReset(err) {
			ResetOnClose(s.client)
			ResetOnClose(s.remote)
		}
		_ = s.client.Close()
		_ = s.remote.Close()
		return
	}
	switch {
	case !first:
		_ = s.client.Close() // ends awaitReset
		_ = s.remote.Close()
	case s.mute.Load():
		s.watch(muteTime)
	case r.HalfClosed > 0:
		s.watch(r.HalfClosed)
	}
}

// muteTime is how long the other direction may be silent when the end of the first one cannot be said:
// its peer waits for the whole connection to close.
const muteTime = 5 * time.Second

// watch starts or changes the idle timeout.
func (s *session) watch(idle time.Duration) {
	if idle <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle, s.quiet = idle, 0
	if s.timer == nil {
		s.timer = time.AfterFunc(idle/4, s.look)
		return
	}
	s.timer.Reset(idle / 4)
}

// look is one timer for both directions: it compares totals, so that the data path tells no time.
func (s *session) look() {
	s.mu.Lock()
	if s.timer == nil || s.finished >= 2 {
		s.mu.Unlock()
		return
	}
	if now := s.moved.Load(); now != s.seen {
		s.seen, s.quiet = now, 0
	} else {
		s.quiet++
	}
	if s.quiet < 4 {
		s.timer.Reset(s.idle / 4)
		s.mu.Unlock()
		return
	}
	if s.err == nil {
		s.err = ErrIdle
	}
	s.mu.Unlock()
	_ = s.client.Close()
	_ = s.remote.Close()
}

func (s *session) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// copy moves one direction. It returns nil after the source's end was passed on.
func (s *session) copy(dst io.Writer, src io.Reader, count func(int64), paced func() bool) error {
	p := pump{src: src, dst: dst, count: count, paced: paced, moved: s.moved}
	err := p.run()
	if c, ok := src.(*Conn); ok {
		c.Drop()
	}
	if err != io.EOF {
		return err
	}
	err = CloseWrite(dst)
	if errors.Is(err, errors.ErrUnsupported) {
		s.mute.Store(true) // the peer learns of the end when the connection closes
		return nil
	}
	if errors.Is(err, net.ErrClosed) || isNotConnected(err) {
		return nil
	}
	return err
}

// pump is one direction.
type pump struct {
	src    io.Reader
	dst    io.Writer
	count  func(int64)
	paced  func() bool
	moved  *atomic.Int64
	waiter N.ReadWaiter
	read   io.Reader        // what waiter reads from
	write  io.Writer        // dst, unwrapped
	buffer N.ExtendedWriter // write, if it takes buffers
	bulk   bool             // write is a BulkWriter
	whole  int              // full reads in a row
}

// spliceAfter is how many full buffers in a row make the kernel's way worth its system calls.
const spliceAfter = 2

// run ends with io.EOF when the source has finished.
func (p *pump) run() error {
	for {
		p.resolve()
		b, err := p.waiter.WaitReadBuffer()
		if err != nil {
			return err
		}
		n := b.Len()
		if p.buffer != nil {
			err = p.buffer.WriteBuffer(b)
		} else {
			_, err = p.write.Write(b.Bytes())
		}
		Put(b)
		if err != nil {
			return err
		}
		p.done(int64(n))
		if n < BufferSize {
			p.whole = 0
		} else if p.whole++; p.whole >= spliceAfter {
			p.whole = 0
			if err := p.splice(); err != nil {
				return err
			}
		}
	}
}

func (p *pump) done(n int64) {
	p.moved.Add(n)
	if p.count != nil {
		p.count(n)
	}
}

// resolve looks through wrappers. They may become replaceable at any chunk: a header was written, the
// bytes that were read ahead are used up.
func (p *pump) resolve() {
	if r := UnwrapReader(p.src); r != p.read {
		p.read, p.waiter = r, NewWaiter(r)
	}
	if w := UnwrapWriter(p.dst); w != p.write {
		p.write = w
		p.buffer, _ = w.(N.ExtendedWriter)
		_, p.bulk = w.(BulkWriter)
	}
	if s, ok := p.waiter.(*socketWaiter); ok {
		s.bulk = p.bulk && !p.isPaced()
	}
}

// splice goes on inside the kernel when both ends are sockets. It returns nil when the ordinary way
// has to take over again.
func (p *pump) splice() error {
	p.resolve()
	src, ok := p.read.(*net.TCPConn)
	if !ok {
		return nil
	}
	dst, ok := p.write.(*net.TCPConn)
	if !ok || p.isPaced() {
		return nil
	}
	s, err := NewSplicer(dst, src)
	if err != nil {
		return nil
	}
	for !p.isPaced() {
		n, err := s.Next()
		if n > 0 {
			p.done(n)
		}
		if errors.Is(err, errors.ErrUnsupported) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *pump) isPaced() bool { return p.paced != nil && p.paced() }

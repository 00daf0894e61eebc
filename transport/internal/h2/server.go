package h2

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"
	"time"

	"heki/internal/netio"
	"heki/transport/internal/http1"
)

// Server serves the streams of connections, and pages to whoever asks for something else. Its fields
// do not change while it is used.
type Server struct {
	Name string        // of the Server header; default http1.ServerName
	Idle time.Duration // of a connection without streams; default DefaultIdle, 1m at least
	// Match judges a well-formed request: 0 opens a stream, anything else is the status of a page.
	Match func(m *Message) int
	// Head returns the header block that opens a stream.
	Head func(m *Message) []byte
	// Trailers is the header block that ends one; nil: none does.
	Trailers []byte
}

// ErrRefused says that no client on the connection asked for a stream.
var ErrRefused = http1.ErrRefused

// Sniff says whether c begins with Preface, and takes that off. Otherwise, and when the client goes
// before it is whole, nothing of c is consumed.
func Sniff(c *netio.Conn) bool {
	for {
		b := c.Buffered()
		n := min(len(b), len(Preface))
		if string(b[:n]) != Preface[:n] {
			return false
		}
		if n == len(Preface) {
			_, _ = c.Discard(n) // n bytes are buffered
			return true
		}
		if _, err := c.PeekMore(); err != nil {
			return false
		}
	}
}

// session is one connection that a Server serves.
type session struct {
	*Server
	*conn
	ctx    context.Context
	handle func(ctx context.Context, s *Stream, m *Message)
	opened bool // a stream was asked for; the reader's
}

// Serve speaks on c, behind the preface, and owns it. handle is called in a goroutine of its own for
// each stream, owns that, and recovers from its own panics. It returns when c is over and all handlers
// have returned.
//
// c's deadline bounds the time until the first stream proves to be a user's by clearing its own.
func (srv *Server) Serve(ctx context.Context, c *netio.Conn, handle func(ctx context.Context, s *Stream, m *Message)) error {
	idle := srv.Idle
	if idle == 0 {
		idle = DefaultIdle
	}
	s := &session{Server: srv, conn: newConn(c, false, max(idle, minIdle)), ctx: ctx, handle: handle}
	s.onHead = s.request
	if _, err := c.Write(s.hello(nil)); err != nil {
		_ = c.Close()
		return err
	}
	err := s.run()
	s.wg.Wait()
	c.Drop()
	switch {
	case s.opened && (err == io.EOF || err == errIdle):
		return nil
	case !s.opened:
		return errors.Join(ErrRefused, err)
	}
	return err
}

// request takes a header block: of a new request, or the trailers of one.
func (s *session) request(id uint32, m *Message) error {
	s.mu.Lock()
	open, old := s.streams[id], id <= s.last
	if !old {
		s.last = id
	}
	busy, going := s.handlers >= maxStreams, s.going
	s.mu.Unlock()
	switch {
	case open != nil:
		if m.End {
			open.finishRead(nil)
		} else {
			open.resetByUs(codeProtocol)
		}
		return nil
	case old || going: // of a stream that is gone, or too late: GOAWAY told
		return nil
	case id&1 == 0:
		return bad(codeProtocol, "request on a stream of ours")
	case busy:
		s.queueWord(frameReset, id, uint32(codeRefused))
		return s.bother(fussRequest)
	}
	return s.open(id, m)
}

// open starts the handler of a request.
func (s *session) open(id uint32, m *Message) error {
	status := 0
	switch {
	case m.tooLong:
		status = 494
	case !m.isRequest():
		status = 400
	default:
		if status = s.Match(m); status != 0 {
			status = m.pageFor(status)
		}
	}
	if s.opened = s.opened || status == 0; status != 0 {
		if s.pages++; s.pages > maxPages {
			return bad(codeNone, "too many requests for pages")
		}
	}
	st := newStream(s.conn, id)
	st.trailers = s.Trailers
	if m.End {
		st.rerr = io.EOF
	}
	s.mu.Lock()
	s.streams[id] = st
	st.sendWindow = int64(s.peerWindow)
	s.handlers++
	s.restLocked()
	s.mu.Unlock()
	s.wg.Go(func() {
		defer func() {
			_ = st.Close()
			s.mu.Lock()
			s.handlers--
			s.mu.Unlock()
		}()
		until := time.Now().Add(handshakeTime + rand.N(handshakeTime/4))
		if status != 0 {
			_ = st.SetWriteDeadline(until)
			s.page(st, m, status)
			return
		}
		_ = st.SetReadDeadline(until)
		if st.sendHead(s.Head(m), false) == nil {
			s.handle(s.ctx, st, m)
		}
	})
	return nil
}

// pageFor returns status, or that of what nginx minds before it looks for a page.
func (m *Message) pageFor(status int) int {
	path, _ := m.Split()
	if !http1.StaysInside([]byte(path)) {
		return 400
	}
	if n, err := strconv.ParseInt(m.Get("content-length"), 10, 64); err == nil && n > http1.MaxBody {
		return 413
	}
	return status
}

// page answers a request as a web server without content, with nginx's headers in nginx's order.
func (s *session) page(st *Stream, m *Message, status int) {
	p := http1.Page{Status: status, Padding: status != 400 && http1.PaddedFor([]byte(m.Get("user-agent")))}
	status, body := p.Content()
	b := AppendServerDate(AppendStatus(nil, status), s.Name, time.Now())
	b = AppendField(b, "content-type", "text/html")
	b = AppendField(b, "content-length", strconv.Itoa(len(body)))
	st.trailers = nil
	if m.Method == "HEAD" {
		st.endWith(b)
		return
	}
	if st.wholly(b, body) {
		return
	}
	if st.sendHead(b, false) == nil {
		_, _ = st.Write(body) // what Close says then is all that can be said
	}
}

// wholly sends an answer in one write, if the peer's windows allow.
func (s *Stream) wholly(head, body []byte) bool {
	c, n := s.c, int64(len(body))
	c.wmu.Lock()
	defer c.flush()
	defer c.wmu.Unlock()
	c.mu.Lock()
	fits := s.werr == nil && min(s.sendWindow, c.sendWindow) >= n && len(body) <= maxFrame
	if fits {
		s.ended = true
		s.sendWindow -= n
		c.sendWindow -= n
	}
	c.mu.Unlock()
	if fits {
		frames := appendHeaders(nil, s.id, 0, c.blockLocked(head))
		_ = c.writeLocked(append(appendHeader(frames, len(body), frameData, flagEnd, s.id), body...))
	}
	return fits
}

// endWith sends a header block that is the whole of our side.
func (s *Stream) endWith(block []byte) {
	s.c.mu.Lock()
	s.ended = true
	s.c.mu.Unlock()
	_ = s.sendHead(block, true)
}

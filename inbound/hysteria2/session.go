package hysteria2

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sagernet/quic-go"
	"github.com/sagernet/quic-go/http3"

	"heki/adapter"
	"heki/constant"
	"heki/inbound"
	"heki/internal/netio"
	"heki/internal/protocol/hysteria2"
	"heki/internal/protocol/wire"
)

// Codes that connections end with.
const (
	codeNoError = quic.ApplicationErrorCode(http3.ErrCodeNoError)
	codeKicked  = quic.ApplicationErrorCode(0x107) // H3_EXCESSIVE_LOAD: as official servers do to a user over a limit
)

const (
	// visitTimeout is how long a visitor who does not become a user may keep a connection open, as web
	// servers bound theirs.
	visitTimeout = 3 * time.Minute
	// maxHeader bounds the head of a request in bytes.
	maxHeader = 16 << 10
)

// session is one QUIC connection.
type session struct {
	in   *Inbound
	conn *quic.Conn
	wg   sync.WaitGroup // the goroutine of the user
	user atomic.Pointer[member]
	auth sync.Mutex // one authentication at a time
	rate uint64     // what Brutal sends at; 0 is BBR
	used sync.Once  // a stream or a socket was opened

	mu      sync.Mutex
	closed  bool // no socket may be added
	sockets map[uint32]*packetConn
}

// member is what a session has once its user is known.
type member struct {
	ctx     context.Context
	handler *inbound.MuxHandler
}

func newSession(in *Inbound, conn *quic.Conn) *session {
	return &session{in: in, conn: conn, sockets: make(map[uint32]*packetConn)}
}

// serve runs the connection until it ends.
func (s *session) serve() {
	visit := time.AfterFunc(visitTimeout, func() {
		if s.user.Load() == nil {
			_ = s.conn.CloseWithError(codeNoError, "")
		}
	})
	defer visit.Stop()
	server := http3.Server{
		Handler: s, StreamDispatcher: s.dispatch, MaxHeaderBytes: maxHeader,
		Logger: slog.New(slog.DiscardHandler),
	}
	err := server.ServeQUICConn(s.conn)
	_ = s.conn.CloseWithError(codeNoError, "")
	s.wg.Wait()
	if s.user.Load() == nil {
		s.in.log.LogAttrs(context.Background(), slog.LevelDebug, "visitor left", slog.String("from", s.conn.RemoteAddr().String()), slog.Any("err", err))
	}
}

// ServeHTTP answers a request: the authentication of a user, or a visitor's.
func (s *session) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.Host != hysteria2.AuthHost || r.URL.Path != hysteria2.AuthPath {
		s.in.masquerade.ServeHTTP(w, r)
		return
	}
	password := r.Header.Get(hysteria2.HeaderAuth)
	user, ok := s.in.users.Lookup(password)
	if !ok {
		s.in.log.LogAttrs(r.Context(), slog.LevelDebug, "not a user", slog.String("from", s.conn.RemoteAddr().String()))
		s.in.masquerade.ServeHTTP(w, r)
		return
	}
	s.auth.Lock()
	if s.user.Load() == nil {
		s.rate = s.in.rates.rate(hysteria2.ParseRate(r.Header.Get(hysteria2.HeaderRate)), user)
		s.admit(password, user)
	}
	s.auth.Unlock()
	h := w.Header()
	h.Set(hysteria2.HeaderUDP, "true")
	h.Set(hysteria2.HeaderRate, s.in.rates.answer())
	h.Set(hysteria2.HeaderPadding, padding(256, 2048)) // PROTOCOL.md: 256 to 2047
	w.WriteHeader(hysteria2.StatusOK)
}

// padding is a text of min to max-1 characters.
func padding(least, most int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, least+rand.N(most-least))
	for i := range b {
		b[i] = letters[rand.N(len(letters))]
	}
	return string(b)
}

// admit makes the connection that of user and returns once streams are served.
func (s *session) admit(password string, user *adapter.User) {
	md := adapter.Metadata{
		ID:         s.in.ids.Add(1),
		Inbound:    s.in.tag,
		Protocol:   constant.TypeHysteria2,
		Source:     addrPort(s.conn.RemoteAddr()),
		Local:      localOf(s.conn),
		User:       user,
		TCPTimeout: time.Duration(s.in.o.TCPTimeout),
		UDPTimeout: time.Duration(s.in.o.UDPTimeout),
	}
	ready := make(chan struct{})
	s.wg.Go(func() {
		err := s.in.dispatcher.Muxed(s.conn.Context(), &md, func(ctx context.Context, h *inbound.MuxHandler) error {
			defer s.in.live.Enter(&s.in.users, password, user, h.End)()
			s.user.Store(&member{ctx, h})
			close(ready)
			return s.receive(ctx, h)
		})
		code := codeNoError
		if errors.Is(err, adapter.ErrRemoved) {
			code = codeKicked
		}
		_ = s.conn.CloseWithError(code, "")
		s.in.log.LogAttrs(context.Background(), slog.LevelDebug, "connection closed", slog.Any("conn", &md), slog.Any("err", err))
	})
	<-ready
}

// dispatch takes the streams that are not HTTP/3's. Without a user there are none: what a visitor sends
// is an unknown frame to HTTP/3.
func (s *session) dispatch(kind http3.FrameType, stream *quic.Stream, err error) (handled bool, _ error) {
	u := s.user.Load()
	if u == nil || err != nil || kind != hysteria2.FrameTCP {
		return false, nil
	}
	c := &streamConn{Stream: stream, conn: s.conn}
	conn := netio.NewConn(c)
	defer conn.Drop()
	req, err := readRequest(conn)
	if err != nil {
		s.in.log.LogAttrs(u.ctx, slog.LevelDebug, "bad request", slog.Any("err", err))
		_ = c.Close()
		return true, nil
	}
	s.use()
	u.handler.NewStream(u.ctx, conn, req.Destination)
	return true, nil
}

// use picks the congestion control: BBR has 29 KiB, which connections that only wait need not have.
func (s *session) use() {
	s.used.Do(func() { s.in.rates.control(s.conn, s.rate) })
}

// readRequest consumes the request and its padding.
func readRequest(conn *netio.Conn) (hysteria2.Request, error) {
	if err := conn.SetReadDeadline(time.Now().Add(constant.HandshakeTimeout)); err != nil {
		return hysteria2.Request{}, err
	}
	req, err := wire.ReadHeader(conn, hysteria2.ParseRequest)
	if err != nil {
		return hysteria2.Request{}, err
	}
	if _, err := conn.Discard(req.Padding); err != nil {
		return hysteria2.Request{}, err
	}
	return req, conn.SetReadDeadline(time.Time{})
}

// addrPort turns a socket's address into an unmapped one.
func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *peer:
		return a.from
	case *net.UDPAddr:
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// localOf is where the client reached this machine.
func localOf(conn *quic.Conn) netip.AddrPort {
	if p, ok := conn.RemoteAddr().(*peer); ok && p.local.IsValid() {
		return netip.AddrPortFrom(p.local, p.socket.Port())
	}
	return addrPort(conn.LocalAddr())
}

// rateText is a rate in bytes per second as HeaderRate says it.
func rateText(rate uint64) string { return strconv.FormatUint(rate, 10) }

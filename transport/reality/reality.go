// Package reality is the server side of REALITY: it takes the place of TLS with a certificate. Each
// connection reaches a target, a site of somebody else; only a client that proves in its ClientHello
// that it knows our public key and a short id is answered by us, with a handshake shaped like the
// target's. Everybody else talks to the target.
//
// Source: https://github.com/XTLS/REALITY and the server of metacubex/utls, which does the handshake.
package reality

import (
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	utls "github.com/metacubex/utls"

	"heki/constant"
	"heki/internal/netio"
	"heki/option"
	"heki/transport/tls"
)

const (
	// maxHandshakes is how many connections may be without a verdict or in the handshake; a flood of
	// more ends the oldest ones.
	maxHandshakes = 1024
	// maxRelays is how many strangers may talk to the target at once; more end the oldest ones.
	maxRelays = 1024
	// relayIdle is longer than the keep-alive of usual web servers, which close first.
	relayIdle = 5 * time.Minute
	// reportEvery bounds how often a wrong target is reported.
	reportEvery = time.Minute
)

// ErrStranger says that a client has not authenticated. It was joined with the target, and that is
// over.
var ErrStranger = errors.New("relayed to the target")

// errCrowded ends the oldest connection when there are too many.
var errCrowded = errors.New("too many connections in this state")

// Server shakes hands for one inbound. Its methods are safe for concurrent use.
type Server struct {
	target  string // host:port
	xver    int
	timeout time.Duration
	now     func() time.Time
	report  func(error)

	key         *ecdh.PrivateKey
	names       map[string]bool
	shortIDs    map[[8]byte]bool
	maxDiff     time.Duration
	low, high   [3]byte
	limitedHigh bool
	config      *utls.RealityConfig // for the handshake of those who have authenticated

	handshakes, relays slots
	seen               seen
	last               atomic.Pointer[address] // of a target with a name
	reported           atomic.Int64            // when report was last called, unix nanoseconds
}

// New prepares a server for o, which has to be validated and to have REALITY. now is the corrected
// clock. report is told what is wrong with the target, not too often.
func New(o *option.TLS, now func() time.Time, report func(error)) (*Server, error) {
	r := o.Reality
	key, err := r.Key()
	if err != nil {
		return nil, fmt.Errorf("private_key: %w", err)
	}
	s := &Server{
		target:     net.JoinHostPort(r.Handshake.Server, strconv.Itoa(int(r.Handshake.ServerPort))),
		xver:       r.Handshake.Xver,
		timeout:    time.Duration(o.HandshakeTimeout),
		now:        now,
		report:     report,
		key:        key,
		names:      make(map[string]bool),
		shortIDs:   make(map[[8]byte]bool),
		maxDiff:    time.Duration(r.MaxTimeDifference),
		handshakes: slots{max: maxHandshakes},
		relays:     slots{max: maxRelays},
	}
	if s.timeout <= 0 {
		s.timeout = constant.HandshakeTimeout
	}
	for _, name := range r.ServerNames {
		s.names[name] = true
	}
	for _, text := range r.ShortID {
		id, err := option.ParseShortID(text)
		if err != nil {
			return nil, fmt.Errorf("short_id: %w", err)
		}
		s.shortIDs[id] = true
	}
	if len(s.shortIDs) == 0 {
		s.shortIDs[[8]byte{}] = true // as sing-box does
	}
	if s.low, err = option.ParseClientVersion(r.MinClientVersion); err != nil {
		return nil, fmt.Errorf("min_client_version: %w", err)
	}
	if s.high, err = option.ParseClientVersion(r.MaxClientVersion); err != nil {
		return nil, fmt.Errorf("max_client_version: %w", err)
	}
	s.limitedHigh = r.MaxClientVersion != ""
	s.config = s.utlsConfig()
	return s, nil
}

// utlsConfig has no bounds of its own for what judge has decided.
func (s *Server) utlsConfig() *utls.RealityConfig {
	return &utls.RealityConfig{
		Type:        "tcp",
		Dest:        s.target,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return targetOf(ctx), nil },
		ServerNames: s.names,
		PrivateKey:  s.key.Bytes(),
		ShortIds:    s.shortIDs,
		Config: utls.Config{
			Time:                        s.now,
			SessionTicketsDisabled:      true,
			DynamicRecordSizingDisabled: true,
		},
	}
}

// Handshake answers a client and owns conn, which it closes when it fails; ErrStranger comes when the
// client's conversation with the target is over. It ends with the timeout of the options or with ctx,
// whichever is first. Deadlines of conn hold until a stranger is joined with the target.
func (s *Server) Handshake(ctx context.Context, conn net.Conn) (*tls.Conn, error) {
	type result struct {
		conn *tls.Conn
		err  error
	}
	// In a goroutine of its own: the handshake grows the stack, and the caller's lives as long as the
	// connection.
	done := make(chan result, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil { // the caller's recover does not reach here
				done <- result{nil, errors.Join(fmt.Errorf("panic: %v", p), conn.Close())}
			}
		}()
		c, err := s.handshake(ctx, conn)
		done <- result{c, err}
	}()
	r := <-done
	return r.conn, r.err
}

func (s *Server) handshake(ctx context.Context, conn net.Conn) (*tls.Conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slot := s.handshakes.take(func() { cancel(errCrowded) })
	defer s.handshakes.release(slot)
	remote, err := s.dial(ctx, conn)
	if err != nil {
		s.complain(ctx, err)
		_ = conn.Close()
		return nil, err
	}
	v := newVisit(conn, remote)
	stop := context.AfterFunc(ctx, v.close)
	defer stop()
	who, reason := s.listen(v)
	if reason == nil {
		var answered bool
		if answered, reason = s.awaitAnswer(v, who); reason == nil {
			return s.imitate(ctx, v, who)
		}
		s.complain(ctx, reason)
		if !answered {
			v.close()
			return nil, reason
		}
	}
	s.handshakes.release(slot)
	slot = s.relays.take(func() { cancel(errCrowded) })
	defer s.relays.release(slot)
	if err := v.relay(); err != nil {
		return nil, fmt.Errorf("%w: %w; it ended with: %w", ErrStranger, reason, err)
	}
	return nil, fmt.Errorf("%w: %w", ErrStranger, reason)
}

// listen passes on to the target what the client sends, and looks at it until it knows whether it is
// a user. The error says why not.
func (s *Server) listen(v *visit) (client, error) {
	timer := time.AfterFunc(s.timeout, func() { v.interrupt(errHandshakeEnd) })
	defer timer.Stop()
	v.watchTarget()
	if err := v.target.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
		return client{}, err
	}
	sent := 0
	for {
		b, err := v.client.PeekMore()
		who, reason := client{}, err
		if len(b) > sent {
			who, reason = s.judge(b)
		}
		// Before the target can see the whole ClientHello: its answer to that is no surprise.
		if !errors.Is(reason, errShort) {
			if cause := v.decide(); cause != nil {
				reason = cause
			}
		}
		if len(b) > sent {
			if _, err := v.target.Write(b[sent:]); err != nil && reason == nil {
				reason = fmt.Errorf("%w: %w", ErrTarget, err)
			}
			sent = len(b)
		}
		if !errors.Is(reason, errShort) {
			return who, reason
		}
	}
}

// client is one that has authenticated.
type client struct {
	groups []utls.CurveID
	hello  int // where its ClientHello ends
	sent   int // what the target got
}

// judge looks at all that a client has sent. errShort asks for more; any other error is final.
func (s *Server) judge(b []byte) (client, error) {
	msg, n, err := parseHello(b)
	if err != nil {
		if errors.Is(err, errShort) && len(b) >= netio.BufferSize {
			err = errNoHello
		}
		return client{}, err
	}
	a, err := open(msg, s.key, s.names)
	if err != nil {
		return client{}, err
	}
	off := s.now().Sub(a.time).Abs()
	switch {
	case slices.Compare(a.version[:], s.low[:]) < 0, s.limitedHigh && slices.Compare(a.version[:], s.high[:]) > 0:
		return client{}, fmt.Errorf("%w: %d.%d.%d", errVersion, a.version[0], a.version[1], a.version[2])
	case s.maxDiff > 0 && off > s.maxDiff:
		return client{}, fmt.Errorf("%w: by %s", errClock, off)
	case !s.shortIDs[a.shortID]:
		return client{}, errShortID
	case !s.seen.add(a.tag):
		return client{}, errReplay
	}
	return client{groups: a.groups, hello: n, sent: len(b)}, nil
}

// awaitAnswer waits for the target's ServerHello. The error says why it cannot be imitated; answered,
// whether the target said anything.
func (s *Server) awaitAnswer(v *visit, who client) (answered bool, err error) {
	if err := v.target.SetReadDeadline(time.Now().Add(s.timeout)); err != nil {
		return false, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	<-v.answered
	b := v.target.Buffered()
	for {
		n, err := serverHelloSize(b)
		if err == nil {
			return true, checkServerHello(b[:n], who.groups)
		}
		if !errors.Is(err, errShort) {
			return true, err
		}
		if b, err = v.target.PeekMore(); err != nil {
			return false, fmt.Errorf("%w: %s does not answer a ClientHello: %w", ErrTarget, s.target, err)
		}
	}
}

// imitate shakes hands with who.
func (s *Server) imitate(ctx context.Context, v *visit, who client) (*tls.Conn, error) {
	timer := time.AfterFunc(s.timeout, v.close)
	defer timer.Stop()
	t := &target{Conn: v.target, skip: who.sent, hello: who.hello, heard: make(chan struct{})}
	c, err := utls.RealityServer(withTarget(ctx, t), tls.Under(v.client), s.config)
	if err != nil {
		v.close()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("reality handshake: %w", err)
	}
	return tls.FromUTLS(c), nil
}

// complain reports what is wrong with the target, unless the inbound is closing.
func (s *Server) complain(ctx context.Context, err error) {
	now := time.Now().UnixNano()
	last := s.reported.Load()
	if s.report == nil || ctx.Err() != nil || !errors.Is(err, ErrTarget) || last != 0 && now-last < int64(reportEvery) {
		return
	}
	if s.reported.CompareAndSwap(last, now) {
		s.report(err)
	}
}

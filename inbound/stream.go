package inbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"heki/adapter"
	"heki/constant"
	"heki/internal/netio"
	"heki/option"
	"heki/transport"
	"heki/transport/proxyproto"
	"heki/transport/reality"
	"heki/transport/tcp"
	"heki/transport/tls"
)

// Handler is one protocol over streams.
type Handler interface {
	// ServeStream authenticates conn, fills md and routes it, and returns when that is over. A
	// *Rejected error leaves conn open and nothing of it consumed.
	ServeStream(ctx context.Context, conn *netio.Conn, md *adapter.Metadata) error
}

// Stream is the chassis of every inbound over TCP: it listens, reads the PROXY header, does TLS and the
// transport, sets the handshake deadline and treats those who are not users.
type Stream struct {
	tag, protocol string
	o             *option.Stream
	handler       Handler
	log           *slog.Logger
	listeners     *tcp.Pool
	security      security // nil without TLS
	transport     transport.Server
	trusted       []netip.Prefix // peers whose PROXY header is believed; none: all
	ids           atomic.Uint32

	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	open   []net.Listener
	conns  map[net.Conn]struct{}
	closed bool
}

// NewStream builds the chassis of an inbound. It reads certificates but binds nothing.
func NewStream(env Env, tag, protocol string, o *option.Stream, h Handler) (*Stream, error) {
	s := &Stream{
		tag: tag, protocol: protocol, o: o, handler: h,
		log: env.Log.With("inbound", tag), listeners: env.Listeners,
		conns: make(map[net.Conn]struct{}),
	}
	var err error
	if s.trusted, err = prefixes(o.TrustedProxies); err != nil {
		return nil, err
	}
	if s.security, err = newSecurity(env, o, s.log); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	if s.transport, err = transport.NewServer(o.Transport, s.trusted); err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	return s, nil
}

// security is what stands right on the TCP connection: TLS or REALITY.
type security interface {
	// Handshake answers a client and owns conn, which it closes when it fails.
	Handshake(ctx context.Context, conn net.Conn) (*tls.Conn, error)
}

// certified is TLS whose certificate is looked after while somebody listens.
type certified interface {
	Start(listening []net.Addr) error
	Stop()
}

func newSecurity(env Env, o *option.Stream, log *slog.Logger) (security, error) {
	switch {
	case o.TLS.HasReality():
		report := func(err error) {
			log.Warn("nobody can use REALITY while its target does not fit; heki check --online looks at it", "err", err)
		}
		return reality.New(o.TLS, env.Time, report)
	case o.TLS != nil && o.TLS.Enabled:
		return tls.NewFrom(o.TLS, transport.ALPN(o.Transport), env.Certificates)
	}
	return nil, nil
}

func prefixes(texts []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("trusted_proxies: %w", err)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// Tag implements adapter.Inbound.
func (s *Stream) Tag() string { return s.tag }

// Addresses returns the addresses it listens on.
func (s *Stream) Addresses() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := make([]net.Addr, len(s.open))
	for i, l := range s.open {
		addrs[i] = l.Addr()
	}
	return addrs
}

// Open returns how many connections are open.
func (s *Stream) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Start binds the addresses and accepts.
func (s *Stream) Start() error {
	ctx, cancel := context.WithCancel(context.Background())
	listeners, err := s.listeners.Listen(ctx, &s.o.Listen)
	if err != nil {
		cancel()
		return fmt.Errorf("listen: %w", err)
	}
	s.mu.Lock()
	s.open, s.cancel = listeners, cancel
	s.mu.Unlock()
	if c, ok := s.security.(certified); ok {
		if err := c.Start(s.Addresses()); err != nil {
			return fmt.Errorf("tls: %w", errors.Join(err, s.Close()))
		}
	}
	if len(s.trusted) == 0 && (s.o.ProxyProtocol == option.ProxyRequired || s.o.ProxyProtocol == option.ProxyOptional) {
		s.log.Warn("a PROXY header is believed from everybody, who may claim any address; list the load balancers in trusted_proxies")
	}
	for _, l := range listeners {
		s.log.Info("listening", "address", l.Addr().String(), "protocol", s.protocol)
		s.wg.Go(func() { s.accept(ctx, l) })
	}
	return nil
}

// Retire stops accepting and lets open connections live. Close ends those too.
func (s *Stream) Retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.open {
		_ = l.Close()
	}
	s.open = nil
	if c, ok := s.security.(certified); ok {
		c.Stop()
	}
}

// Close stops accepting, closes what is open and waits.
func (s *Stream) Close() error {
	s.Retire()
	s.mu.Lock()
	s.closed = true
	if s.cancel != nil {
		s.cancel()
	}
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// Wait returns when a retired inbound has no connection left, or ctx is done.
func (s *Stream) Wait(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.wg.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		_ = s.Close()
		<-done
	}
}

// accept hands connections out. It parses nothing: a slow client must not hold up the next one.
func (s *Stream) accept(ctx context.Context, l net.Listener) {
	const first, most = 5 * time.Millisecond, time.Second
	pause := first
	for {
		conn, err := l.Accept()
		if err == nil {
			pause = first
			s.wg.Go(func() { s.handle(ctx, conn) })
			continue
		}
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		s.log.Warn("accept", "err", err, "next_try", pause.String())
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, most)
	}
}

// track notes an open connection; false says that the inbound is closed.
func (s *Stream) track(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[conn] = struct{}{}
	return true
}

func (s *Stream) untrack(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

// handle serves one accepted connection.
func (s *Stream) handle(ctx context.Context, raw net.Conn) {
	defer raw.Close()
	if !s.track(raw) {
		return
	}
	defer s.untrack(raw)
	md := adapter.Metadata{
		Network:  constant.NetworkTCP,
		Inbound:  s.tag,
		Protocol: s.protocol,
		Source:   netio.AddrPort(raw.RemoteAddr()),
		Local:    netio.AddrPort(raw.LocalAddr()),

		TCPTimeout: time.Duration(s.o.TCPTimeout),
		UDPTimeout: time.Duration(s.o.UDPTimeout),
	}
	defer recovered(s.log, &md, raw)
	until := s.deadline()
	if err := raw.SetDeadline(until); err != nil {
		return
	}
	plain, err := s.unproxy(raw, &md)
	if err != nil {
		s.debug(ctx, "proxy protocol", &md, err)
		return
	}
	conn, err := s.secure(ctx, plain)
	if err != nil {
		s.debug(ctx, "tls handshake", &md, err)
		return
	}
	if conn != raw {
		defer conn.Close()
	}
	if s.transport == nil {
		s.serve(ctx, conn, md)
		return
	}
	var shared atomic.Bool
	err = s.transport.Serve(ctx, conn, func(ctx context.Context, stream net.Conn, source netip.AddrPort) {
		md, until := md, until
		if shared.Swap(true) {
			until = s.deadline() // from its own beginning: the connection was another stream's
		}
		if err := stream.SetDeadline(until); err != nil {
			_ = stream.Close()
			return
		}
		if source.IsValid() {
			md.Source = source
		}
		defer recovered(s.log, &md, stream) // h2 and grpc streams have goroutines of their own
		s.serve(ctx, stream, md)
	})
	if err != nil {
		s.debug(ctx, "transport", &md, err)
	}
}

// deadline is when a client must have shown that it is a user. It is a little different each time,
// as the end of those who are not users is all that they ever see.
func (s *Stream) deadline() time.Time {
	d := time.Duration(s.o.HandshakeTimeout)
	if d <= 0 {
		d = constant.HandshakeTimeout
	}
	return time.Now().Add(d + rand.N(d/4))
}

// unproxy takes the PROXY header off raw when the inbound expects one from its peer, and notes the
// client. The local address stays the socket's: it is the one that answers go out from.
func (s *Stream) unproxy(raw net.Conn, md *adapter.Metadata) (net.Conn, error) {
	required := s.o.ProxyProtocol == option.ProxyRequired
	if !required && s.o.ProxyProtocol != option.ProxyOptional {
		return raw, nil
	}
	peer := md.Source.Addr()
	if len(s.trusted) > 0 && !slices.ContainsFunc(s.trusted, func(p netip.Prefix) bool { return p.Contains(peer) }) {
		if required {
			return nil, fmt.Errorf("%w: %s is not in trusted_proxies", proxyproto.ErrMissing, peer)
		}
		return raw, nil
	}
	conn := netio.NewConn(raw)
	source, _, err := proxyproto.Read(conn, required)
	switch {
	case err != nil:
		conn.Drop()
		return nil, err
	case !source.IsValid():
		return conn, nil
	}
	md.Source = source
	return proxyproto.NewConn(conn, source), nil
}

func (s *Stream) secure(ctx context.Context, raw net.Conn) (net.Conn, error) {
	if s.security == nil {
		return raw, nil
	}
	conn, err := s.security.Handshake(ctx, raw)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// serve runs the protocol on one stream. It owns stream.
func (s *Stream) serve(ctx context.Context, stream net.Conn, md adapter.Metadata) {
	md.ID = s.ids.Add(1)
	conn := netio.NewConn(stream)
	err := s.handler.ServeStream(ctx, conn, &md)
	var rejected *Rejected
	if errors.As(err, &rejected) {
		s.reject(ctx, conn, &md, rejected.Reason)
	} else {
		s.debug(ctx, "connection closed", &md, err)
	}
	_ = conn.Close()
	conn.Drop()
}

func (s *Stream) debug(ctx context.Context, what string, md *adapter.Metadata, err error) {
	s.log.LogAttrs(ctx, slog.LevelDebug, what, slog.Any("conn", md), slog.Any("err", err))
}

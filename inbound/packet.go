package inbound

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sagernet/sing/common/buf"

	"heki/adapter"
	"heki/internal/netio"
	"heki/option"
	"heki/transport/udp"
)

// ErrRetired is returned by Sessions.Open when the inbound takes no new sessions any more. A
// PacketHandler hands it on, so that the datagram reaches the inbound that has taken its place.
var ErrRetired = errors.New("the inbound takes no new sessions")

// ErrRefused is returned by Sessions.Open for a client whose user was over a limit just now.
var ErrRefused = errors.New("refused a moment ago")

// PacketHandler is one protocol over datagrams.
type PacketHandler interface {
	// ServePacket authenticates one datagram and delivers its payload to a session. It owns b, which
	// has netio.Headroom before and behind the datagram and is for netio.Put; it may work in place. An
	// error says why nobody was served; it is logged for debugging, and the client hears nothing.
	//
	// It is called by several goroutines at once, one for each processor, in the order of arrival for
	// any one client address. It must not wait: what takes long is for another goroutine, which may
	// keep b and from.
	ServePacket(b *buf.Buffer, from Endpoint) error
}

// Endpoint is where a datagram came from, and where answers to it go. It is comparable and may be
// kept.
type Endpoint struct {
	Source netip.AddrPort // the client, as a PROXY header names it when there was one; unmapped
	Local  netip.AddrPort // the address that it reached; unmapped

	peer    netip.AddrPort // who sent the datagram: the client or its load balancer
	socket  *netio.PacketSocket
	retired bool // it came to an inbound that serves only the sessions that it has
}

// Retired says that the datagram came to an inbound that serves only the sessions that it has. A
// PacketHandler that finds no session for it returns ErrRetired, before it notes anything of it.
func (e *Endpoint) Retired() bool { return e.retired }

// send sends one datagram to the client, from the address that it reached.
func (e *Endpoint) send(b []byte) error { return e.socket.Send(b, e.peer, e.Local.Addr()) }

// Packet is the chassis of every inbound over UDP: it listens beside a Stream or alone, receives in
// batches, reads PROXY headers and keeps the sessions that a protocol opens in Sessions.
type Packet struct {
	tag, protocol string
	o             *option.Listen
	handler       PacketHandler
	router        adapter.Router
	log           *slog.Logger
	pool          *udp.Pool
	proxy         *proxied // nil: no PROXY headers
	timeout       time.Duration
	ids           atomic.Uint32

	ctx    context.Context // of the sessions
	cancel context.CancelFunc
	wg     sync.WaitGroup // for the sessions

	clients atomic.Pointer[map[netip.AddrPort]struct{}] // of a retired inbound

	mu      sync.Mutex
	open    []*udp.Listener
	tables  []sessionTable
	retired bool
	closed  bool
}

// sessionTable is what the chassis needs of a Sessions.
type sessionTable interface {
	len() int
	peers(to map[netip.AddrPort]struct{})
	closeAll()
}

// NewPacket builds the chassis of an inbound. It binds nothing.
func NewPacket(env Env, tag, protocol string, o *option.Listen, h PacketHandler) (*Packet, error) {
	trusted, err := prefixes(o.TrustedProxies)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	in := &Packet{
		tag: tag, protocol: protocol, o: o, handler: h,
		router: env.Router, log: env.Log.With("inbound", tag), pool: env.Packets,
		proxy: newProxied(o.UDPProxyProtocol, trusted), timeout: udpTimeout(time.Duration(o.UDPTimeout)),
		ctx: ctx, cancel: cancel,
	}
	if in.pool == nil {
		in.pool = new(udp.Pool)
	}
	return in, nil
}

// Tag implements adapter.Inbound.
func (p *Packet) Tag() string { return p.tag }

// Addresses returns the addresses it listens on.
func (p *Packet) Addresses() []net.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	addrs := make([]net.Addr, len(p.open))
	for i, l := range p.open {
		addrs[i] = l.Addr()
	}
	return addrs
}

// Open returns how many sessions are open.
func (p *Packet) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, t := range p.tables {
		n += t.len()
	}
	return n
}

// Start binds the addresses and receives.
func (p *Packet) Start() error { return p.StartOn(0) }

// StartOn is Start on another port than the options', unless port is 0: beside a Stream whose port the
// system has chosen.
func (p *Packet) StartOn(port uint16) error {
	o := *p.o
	o.ListenPort = cmp.Or(port, o.ListenPort)
	p.mu.Lock()
	defer p.mu.Unlock()
	listeners, err := p.pool.Listen(p.ctx, &o, (*packetLoop)(p))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	p.open = listeners
	if p.proxy != nil && len(p.proxy.trusted) == 0 {
		p.log.Warn("a PROXY header is believed from everybody, who may claim any address; list the load balancers in trusted_proxies")
	}
	for _, l := range listeners {
		p.log.Info("listening", "address", l.Addr().String(), "protocol", p.protocol, "network", "udp")
	}
	return nil
}

// Retire takes no new sessions and lets those that are open live, with datagrams both ways. Close ends
// those too. Where another inbound has the same address by now, it gets everything else.
func (p *Packet) Retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired {
		return
	}
	p.retired = true
	clients := make(map[netip.AddrPort]struct{})
	for _, t := range p.tables {
		t.peers(clients)
	}
	p.clients.Store(&clients)
	for _, l := range p.open {
		l.Retire()
	}
}

// Close stops receiving, closes the sessions and waits.
func (p *Packet) Close() error {
	p.mu.Lock()
	open, tables := p.open, p.tables
	p.open, p.retired, p.closed = nil, true, true
	p.mu.Unlock()
	var errs []error
	for _, l := range open {
		errs = append(errs, l.Close())
	}
	p.cancel()
	for _, t := range tables {
		t.closeAll()
	}
	p.wg.Wait()
	return errors.Join(errs...)
}

// Wait returns when a retired inbound has no session left, or ctx is done.
func (p *Packet) Wait(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.wg.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		_ = p.Close()
		<-done
	}
}

// begin admits the goroutine of one session: wg.Done ends it.
func (p *Packet) begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired {
		return ErrRetired
	}
	p.wg.Add(1)
	return nil
}

// packetLoop is a Packet as the sockets' loops see it.
type packetLoop Packet

// Knows implements udp.Handler.
func (l *packetLoop) Knows(from netip.AddrPort) bool {
	clients := l.clients.Load()
	if clients == nil {
		return true
	}
	_, ok := (*clients)[from]
	return ok
}

// HandlePacket implements udp.Handler.
func (l *packetLoop) HandlePacket(s *netio.PacketSocket, d netio.Datagram) bool {
	p := (*Packet)(l)
	from := Endpoint{
		Source: d.From, Local: netip.AddrPortFrom(d.Local, s.Port()),
		peer: d.From, socket: s, retired: l.clients.Load() != nil,
	}
	defer p.recovered(&from)
	if p.proxy != nil {
		if err := p.proxy.take(d.Buffer, &from); err != nil {
			netio.Put(d.Buffer)
			p.refused(&from, err)
			return true
		}
	}
	err := p.handler.ServePacket(d.Buffer, from)
	if err != nil {
		p.refused(&from, err)
	}
	return !errors.Is(err, ErrRetired)
}

func (p *Packet) refused(from *Endpoint, err error) {
	if p.log.Enabled(p.ctx, slog.LevelDebug) {
		p.log.LogAttrs(p.ctx, slog.LevelDebug, "datagram dropped", slog.String("from", from.Source.String()), slog.Any("err", err))
	}
}

func (p *Packet) debug(md *adapter.Metadata, err error) {
	p.log.LogAttrs(p.ctx, slog.LevelDebug, "session closed", slog.Any("conn", md), slog.Any("err", err))
}

// recovered, when deferred, keeps the panic of one datagram from ending all sessions.
func (p *Packet) recovered(from *Endpoint) {
	if cause := recover(); cause != nil {
		p.log.Error("panic while serving a datagram", "from", from.Source.String(), "cause", cause, "stack", string(debug.Stack()))
	}
}

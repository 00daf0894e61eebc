// Package route decides what becomes of a connection and joins it with its outbound: limits, sniffing,
// rules, dial, relay.
package route

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"heki/adapter"
	"heki/constant"
	"heki/internal/netio"
	"heki/option"
	"heki/route/rule"
)

// Errors of routed connections.
var (
	ErrKicked = fmt.Errorf("user %w", adapter.ErrRemoved)
	ErrDenied = errors.New("denied")
)

// Outbounds finds an outbound by tag, or nil.
type Outbounds interface {
	Get(tag string) adapter.Outbound
}

// Router decides by a rule table that can be replaced at run time.
type Router struct {
	resolver adapter.Resolver
	geo      rule.Geo // nil: there are no geo files
	log      *slog.Logger
	hit      func(md *adapter.Metadata, id int64) // nil: nobody is told
	state    atomic.Pointer[state]
	mu       sync.Mutex // one change of state at a time
	partial  map[string]panelRules
}

// state is what one configuration decides with. It is replaced whole.
type state struct {
	table     *rule.Table
	outbounds Outbounds
	sniff     sniffers
}

// New builds a router. geo may be nil. Every mistake of o is reported with its place.
func New(o option.Route, outbounds Outbounds, resolver adapter.Resolver, geo rule.Geo, log *slog.Logger) (*Router, error) {
	r := &Router{resolver: resolver, geo: geo, log: log}
	if err := r.Reload(o, outbounds); err != nil {
		return nil, err
	}
	return r, nil
}

// Check compiles o without using it.
func Check(o option.Route, geo rule.Geo) error {
	_, err := rule.NewTable(o, geo)
	return err
}

// Reload decides by o from now on; panels' rules stay. On error nothing changes.
func (r *Router) Reload(o option.Route, outbounds Outbounds) error {
	table, err := rule.NewTable(o, r.geo)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.state.Load(); old != nil {
		table.Adopt(old.table)
	}
	r.state.Store(&state{table: table, outbounds: outbounds, sniff: sniffersOf(o)})
	return nil
}

// OnHit makes hit learn of everything that a panel's rule denies: the connection and the rule's ID, which is
// not 0. It must not block. Set it before the router is used.
func (r *Router) OnHit(hit func(md *adapter.Metadata, id int64)) { r.hit = hit }

// denied logs what a rule denies, and tells the panel whose rule it is.
func (r *Router) denied(ctx context.Context, md *adapter.Metadata, d rule.Decision) {
	r.log.LogAttrs(ctx, slog.LevelInfo, "denied", slog.Any("conn", md), slog.String("rule", d.Rule()))
	if r.hit != nil && d.By == rule.ByPanel && d.PanelRule != 0 && d.Broken == "" {
		r.hit(md, d.PanelRule)
	}
}

// task is one routed connection: what a kick has to end.
type task struct {
	cancel context.CancelCauseFunc
	mu     sync.Mutex
	open   []io.Closer
	killed bool
}

// add notes something to close; it is closed at once when the kick came first.
func (t *task) add(c io.Closer) {
	t.mu.Lock()
	killed := t.killed
	t.open = append(t.open, c)
	t.mu.Unlock()
	if killed {
		_ = c.Close()
	}
}

// kill must not block, and closing a TLS connection may write.
func (t *task) kill() { go t.end() }

func (t *task) end() {
	t.cancel(ErrKicked)
	t.mu.Lock()
	t.killed = true
	open := t.open
	t.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

// because names a kick as the cause of what it broke.
func (t *task) because(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.killed {
		return ErrKicked
	}
	return err
}

// noLease stands in for accounts that are neither counted nor limited.
type noLease struct{}

func (noLease) Up(int64)    {}
func (noLease) Down(int64)  {}
func (noLease) Paced() bool { return false }
func (noLease) Close()      {}

func open(ctx context.Context, t *task, md *adapter.Metadata) (adapter.Lease, error) {
	if md.User == nil || md.User.Meter == nil {
		return noLease{}, nil
	}
	return md.User.Meter.Open(ctx, md.Source.Addr(), t.kill)
}

// admit runs serve while the account holds a lease for conn, which it owns.
func (r *Router) admit(ctx context.Context, conn io.Closer, md *adapter.Metadata, serve func(context.Context, *task, adapter.Lease) error) error {
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := &task{cancel: cancel}
	t.add(conn)
	lease, err := open(ctx, t, md)
	if err != nil {
		failed(conn, err)
		r.refused(ctx, md, err)
		return err
	}
	defer lease.Close()
	return t.because(serve(ctx, t, lease))
}

// RouteConn implements adapter.Router.
func (r *Router) RouteConn(ctx context.Context, conn net.Conn, md *adapter.Metadata) error {
	md.Network = constant.NetworkTCP
	return r.admit(ctx, conn, md, func(ctx context.Context, t *task, lease adapter.Lease) error {
		return r.routeConn(ctx, conn, md, t, lease)
	})
}

func (r *Router) routeConn(ctx context.Context, conn net.Conn, md *adapter.Metadata, t *task, lease adapter.Lease) error {
	s := r.state.Load()
	if s.table.NeedsSniff(md) {
		var err error
		if conn, err = s.sniff.stream(conn, md); err != nil {
			return err
		}
	}
	out, err := r.decide(ctx, s, md)
	if err != nil {
		failed(conn, err)
		return err
	}
	defer release(out)
	remote, err := out.Dial(ctx, md)
	if err != nil {
		return r.unreachable(ctx, conn, md, fmt.Errorf("dial %s: %w", md.Destination, err))
	}
	t.add(remote)
	if err := succeeded(conn); err != nil {
		return errors.Join(err, remote.Close())
	}
	relay := netio.Relay{
		Up: lease.Up, Down: lease.Down, Paced: lease.Paced,
		Idle: idle(md.TCPTimeout, constant.TCPTimeout), HalfClosed: constant.HalfCloseTimeout,
	}
	return relay.Run(conn, remote)
}

// unreachable tells client and operator that an outbound failed.
func (r *Router) unreachable(ctx context.Context, conn any, md *adapter.Metadata, err error) error {
	failed(conn, err)
	r.log.LogAttrs(ctx, slog.LevelInfo, "unreachable", slog.Any("conn", md), slog.Any("err", err))
	return err
}

// failed lets a protocol that can say so tell its client that a stream did not come about.
func failed(conn any, err error) {
	if c, ok := find[interface{ HandshakeFailure(error) error }](conn); ok {
		_ = c.HandshakeFailure(err)
	}
}

// succeeded lets a protocol that can say so tell its client that the destination was reached.
func succeeded(conn any) error {
	if c, ok := find[interface{ HandshakeSuccess() error }](conn); ok {
		return c.HandshakeSuccess()
	}
	return nil
}

// find looks for a T through wrappers.
func find[T any](conn any) (T, bool) {
	for {
		if t, ok := conn.(T); ok {
			return t, true
		}
		u, ok := conn.(interface{ Upstream() any })
		if !ok {
			var none T
			return none, false
		}
		conn = u.Upstream()
	}
}

// idle resolves a timeout of Metadata.
func idle(d, usual time.Duration) time.Duration {
	switch {
	case d < 0:
		return 0
	case d == 0:
		return usual
	}
	return d
}

// refused logs a limit at info: the operator set it, and the user will ask.
func (r *Router) refused(ctx context.Context, md *adapter.Metadata, err error) {
	level := slog.LevelDebug
	if errors.Is(err, adapter.ErrLimited) {
		level = slog.LevelInfo
	}
	r.log.LogAttrs(ctx, level, "refused", slog.Any("conn", md), slog.Any("err", err))
}

// decide finds the outbound, which the caller has to release. One that is out of service is of rules that were
// replaced meanwhile: the new ones are asked.
func (r *Router) decide(ctx context.Context, s *state, md *adapter.Metadata) (adapter.Outbound, error) {
	for range takeTries {
		out, err := r.choose(ctx, s, md)
		if err != nil {
			return nil, err
		}
		if take(out) {
			return out, nil
		}
		s = r.state.Load()
	}
	return nil, fmt.Errorf("outbound %q is closed", md.Outbound)
}

// choose resolves when a rule needs it, and asks the table.
func (r *Router) choose(ctx context.Context, s *state, md *adapter.Metadata) (adapter.Outbound, error) {
	if s.table.NeedsAddresses(md) {
		addrs, err := r.resolver.Lookup(ctx, md.Inbound, md.Destination.Fqdn)
		if err != nil {
			// Rules on addresses must not be passed by a name that resolves later.
			return nil, fmt.Errorf("resolve %s: %w", md.Destination.Fqdn, err)
		}
		md.Addresses = addrs
	}
	d := s.table.Decide(md)
	md.Outbound = d.Outbound
	switch d.Action {
	case rule.ActionDirect:
		md.Outbound = constant.TypeDirect
	case rule.ActionBlock:
		err := fmt.Errorf("%w by %s", ErrDenied, d.Rule())
		r.denied(ctx, md, d)
		return nil, err
	}
	out := d.Via
	if out == nil {
		out = s.outbounds.Get(md.Outbound)
	}
	if out == nil {
		return nil, fmt.Errorf("no outbound %q", md.Outbound)
	}
	return out, nil
}

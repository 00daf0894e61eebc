// Package shadowsocksr answers ShadowsocksR clients, on TCP and UDP, in the three ways in which panels
// share ports: a port for each user, one port whose protocol names the user, and one whose obfs names a
// host that is the user's. One inbound may have several ports of each kind.
package shadowsocksr

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"

	"heki/adapter"
	"heki/constant"
	"heki/inbound"
	"heki/option"
)

// Inbound is a ShadowsocksR server.
type Inbound struct {
	tag        string
	env        inbound.Env
	o          *option.ShadowsocksR
	log        *slog.Logger
	dispatcher *inbound.Dispatcher
	memory     *Memory
	fixed      []place // of the options, the inbound's own first

	mu      sync.Mutex
	ports   map[place]*port
	started bool
	retired bool
}

// Register adds the type to r. Its inbounds remember together in m.
func Register(r *inbound.Registry, m *Memory) {
	inbound.Register(r, constant.TypeShadowsocksR, func(env inbound.Env, tag string, o *option.ShadowsocksR) (adapter.Inbound, error) {
		return New(env, tag, o, m)
	})
}

// New builds the inbound. It serves nobody before SwapUsers.
func New(env inbound.Env, tag string, o *option.ShadowsocksR, m *Memory) (adapter.Inbound, error) {
	in := &Inbound{
		tag: tag, env: env, o: o, log: env.Log.With("inbound", tag),
		dispatcher: inbound.NewDispatcher(env, &o.Stream), memory: m, ports: make(map[place]*port),
	}
	if o.Mode != option.SSRMultiPort {
		in.fixed = append(in.fixed, place{o.ListenPort, o.SSRPort})
	}
	for _, p := range o.Ports {
		in.fixed = append(in.fixed, place{p.ListenPort, p.SSRPort})
	}
	for _, at := range in.fixed {
		p, err := newPort(in, at)
		if err != nil {
			return nil, errors.Join(err, in.Close())
		}
		in.ports[at] = p
	}
	return in, nil
}

// Tag implements adapter.Inbound.
func (in *Inbound) Tag() string { return in.tag }

// all returns the ports in the order of the options, those of users behind them by number.
func (in *Inbound) all() []*port {
	in.mu.Lock()
	defer in.mu.Unlock()
	list := make([]*port, 0, len(in.ports))
	for _, at := range in.fixed {
		list = append(list, in.ports[at])
	}
	own := slices.SortedFunc(maps.Keys(in.ports), func(a, b place) int { return int(a.number) - int(b.number) })
	for _, at := range own {
		if !slices.Contains(in.fixed, at) {
			list = append(list, in.ports[at])
		}
	}
	return list
}

// Addresses returns the addresses it listens on.
func (in *Inbound) Addresses() (addrs []net.Addr) {
	for _, p := range in.all() {
		addrs = append(addrs, p.pair.Addresses()...)
	}
	return addrs
}

// Open returns how many connections and sessions are open.
func (in *Inbound) Open() (n int) {
	for _, p := range in.all() {
		n += p.pair.Open()
	}
	return n
}

// Start binds all ports. One of the options that cannot be bound is an error; a user's own is logged,
// and tried again when users are swapped.
func (in *Inbound) Start() error {
	for _, p := range in.all() {
		err := p.start()
		if err == nil {
			continue
		}
		if slices.Contains(in.fixed, p.at) {
			return errors.Join(fmt.Errorf("port %d: %w", p.at.number, err), in.Close())
		}
		in.log.Warn("a user's port cannot be bound; the others are served", "port", p.at.number, "err", err)
	}
	in.mu.Lock()
	in.started = true
	in.mu.Unlock()
	return nil
}

// Retire takes no new connections and sessions and lets open ones live.
func (in *Inbound) Retire() {
	in.mu.Lock()
	in.retired = true
	in.mu.Unlock()
	for _, p := range in.all() {
		p.pair.Retire()
	}
}

// Wait returns when a retired inbound has nothing open left, or ctx is done.
func (in *Inbound) Wait(ctx context.Context) {
	var wg sync.WaitGroup
	for _, p := range in.all() {
		wg.Go(func() { p.pair.Wait(ctx) })
	}
	wg.Wait()
}

// Close implements adapter.Inbound.
func (in *Inbound) Close() error {
	in.mu.Lock()
	in.retired = true
	gone := slices.Collect(maps.Values(in.ports))
	in.mu.Unlock()
	err := closeAll(gone)
	in.dispatcher.Close()
	return err
}

func closeAll(ports []*port) error {
	errs := make([]error, len(ports))
	var wg sync.WaitGroup
	for i, p := range ports {
		wg.Go(func() { errs[i] = p.pair.Close() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

var (
	_ adapter.Inbound     = (*Inbound)(nil)
	_ adapter.UserManager = (*Inbound)(nil)
)

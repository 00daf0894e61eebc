package inbound

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"heki/adapter"
	"heki/option"
)

// Manager runs inbounds by tag and replaces one without touching the others.
type Manager struct {
	registry *Registry
	env      Env
	ctx      context.Context // ends the connections of retired inbounds
	cancel   context.CancelFunc
	waiting  sync.WaitGroup // for retired inbounds

	mu      sync.Mutex
	running map[string]adapter.Inbound
	retired map[adapter.Inbound]string // by inbound: its tag
	closed  bool
}

// ErrClosed is returned by a manager that was closed.
var ErrClosed = errors.New("inbounds are closed")

// NewManager returns a manager without inbounds.
func NewManager(r *Registry, env Env) *Manager {
	ctx, cancel := context.WithCancel(context.Background())
	return &Manager{registry: r, env: env, ctx: ctx, cancel: cancel, running: make(map[string]adapter.Inbound), retired: make(map[adapter.Inbound]string)}
}

// Check builds in with users and throws it away: mistakes that only a constructor finds, without
// binding.
func (m *Manager) Check(in option.Inbound, users []*adapter.User) error {
	built, _, err := m.build(in, users)
	if err != nil {
		return err
	}
	return built.Close()
}

func (m *Manager) build(in option.Inbound, users []*adapter.User) (adapter.Inbound, adapter.UserManager, error) {
	built, err := m.registry.New(m.env, in)
	if err != nil {
		return nil, nil, err
	}
	um, ok := built.(adapter.UserManager)
	if !ok {
		return nil, nil, errors.Join(fmt.Errorf("inbound %q: type %q has no users", in.Tag, in.Type), built.Close())
	}
	if err := um.SwapUsers(users); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("inbound %q: %w", in.Tag, err), built.Close())
	}
	return built, um, nil
}

// Replace starts in with users and retires the inbound of the same tag, whose open connections live
// on. The address is taken over without closing it when it is the same. On error the old one keeps
// serving.
func (m *Manager) Replace(in option.Inbound, users []*adapter.User) (adapter.UserManager, error) {
	built, um, err := m.build(in, users)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errors.Join(ErrClosed, built.Close())
	}
	if err := built.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("inbound %q: %w", in.Tag, err), built.Close())
	}
	if old := m.running[in.Tag]; old != nil {
		m.retireLocked(old)
	}
	m.running[in.Tag] = built
	return um, nil
}

// retirer is an inbound that can stop accepting while its connections live on.
type retirer interface {
	Retire()
	Wait(ctx context.Context)
}

func (m *Manager) retireLocked(old adapter.Inbound) {
	r, ok := old.(retirer)
	if !ok {
		_ = old.Close()
		return
	}
	r.Retire()
	m.retired[old] = old.Tag()
	m.waiting.Go(func() {
		r.Wait(m.ctx)
		_ = old.Close()
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.retired, old)
	})
}

// Remove closes the inbound called tag and its connections, those of retired ones of that tag too, and
// waits: nothing of the tag is counted afterwards.
func (m *Manager) Remove(tag string) error {
	m.mu.Lock()
	var gone []adapter.Inbound
	if in := m.running[tag]; in != nil {
		gone = append(gone, in)
		delete(m.running, tag)
	}
	for in, of := range m.retired {
		if of == tag {
			gone = append(gone, in)
		}
	}
	m.mu.Unlock()
	return closeAll(gone)
}

// Get returns the inbound called tag, or nil.
func (m *Manager) Get(tag string) adapter.Inbound {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running[tag]
}

// Retire stops accepting everywhere; open connections live on until Close.
func (m *Manager) Retire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, in := range m.running {
		if r, ok := in.(retirer); ok {
			r.Retire()
		}
	}
}

// Close closes all inbounds and their connections, retired ones included, and waits.
func (m *Manager) Close() error {
	m.mu.Lock()
	m.closed = true
	all := slices.Collect(maps.Values(m.running))
	clear(m.running)
	m.mu.Unlock()
	m.cancel()
	err := closeAll(all)
	m.waiting.Wait()
	return err
}

// closeAll closes inbounds at the same time.
func closeAll(all []adapter.Inbound) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, in := range all {
		wg.Go(func() { errs[i] = in.Close() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

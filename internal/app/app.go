// Package app puts heki together: it is the only package that knows all others. The order in which
// things start is the order in New and Start; Close is the reverse.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"sync"
	"time"

	"heki/dns"
	"heki/inbound"
	"heki/internal/admin"
	"heki/internal/meter"
	"heki/option"
	"heki/outbound"
	"heki/panel"
	"heki/route"
	"heki/route/geo"
	"heki/transport/acme"
	"heki/transport/tcp"
	"heki/transport/udp"
)

// App is one running configuration.
type App struct {
	log      *slog.Logger
	resolver *resolver
	router   *route.Router
	geo      *geo.Files
	inbounds *inbound.Manager
	ledger   *meter.Ledger
	panels   *panel.Service
	lock     *os.File // nil where there is no state: without panels and certificates of our own
	memory   *memories
	certs    *acme.Manager

	stopSaving context.CancelFunc
	saving     sync.WaitGroup

	mu        sync.Mutex // one Start, Reload or Close at a time
	closed    bool
	options   *option.Options
	outbounds *outbound.Set
	own       *nodeOutbounds
	static    map[string]*static
	admin     *admin.Server // nil: none
	started   time.Time
}

// New builds everything that o describes. It binds nothing and asks no panel.
func New(o *option.Options, log *slog.Logger) (*App, error) {
	a := &App{
		log: log, options: o, resolver: new(resolver), geo: geo.New(geoPlaces(o), log),
		ledger: meter.NewLedger(), static: make(map[string]*static),
	}
	if err := a.build(o); err != nil {
		return nil, errors.Join(err, a.release())
	}
	return a, nil
}

func (a *App) build(o *option.Options) error {
	client, err := dns.New(o.DNS, compileHosts(a.geo), a.log)
	if err != nil {
		return err
	}
	if err := a.resolver.replace(client); err != nil {
		return err
	}
	if a.outbounds, err = a.buildOutbounds(o); err != nil {
		return err
	}
	if a.router, err = route.New(o.Route, a.outbounds, a.resolver, a.geo, a.log); err != nil {
		return err
	}
	a.certs = newCertificates(o, a.log)
	env := inbound.Env{Router: a.router, Listeners: new(tcp.Pool), Packets: new(udp.Pool), Certificates: a.certs, Log: a.log, Now: a.now}
	a.memory = newMemories()
	a.inbounds = inbound.NewManager(inboundTypes(a.memory), env)
	if keepsState(o) {
		if a.lock, err = lockState(o.StateDir); err != nil {
			return err
		}
		a.loadMemory()
	}
	a.panels, err = a.buildPanels(o)
	return err
}

// now is the time as the panels have it: VMess clients are refused for a wrong clock, and the host's
// may be the wrong one.
func (a *App) now() time.Time {
	if a.panels == nil { // while building
		return time.Now()
	}
	return time.Now().Add(a.panels.Offset())
}

// release closes what build made, as far as it came.
func (a *App) release() error {
	var errs []error
	if a.own != nil {
		a.own.Close()
	}
	if a.outbounds != nil {
		errs = append(errs, a.outbounds.Close())
	}
	if client := a.resolver.client.Load(); client != nil {
		errs = append(errs, client.Close())
	}
	if a.certs != nil {
		errs = append(errs, a.certs.Close())
	}
	if a.lock != nil {
		errs = append(errs, a.lock.Close())
	}
	return errors.Join(errs...)
}

func (a *App) buildOutbounds(o *option.Options) (*outbound.Set, error) {
	return outbound.NewSet(outboundTypes(), a.outboundEnv(), o.Outbounds)
}

func (a *App) outboundEnv() outbound.Env {
	return outbound.Env{Resolver: a.resolver, Log: a.log, Now: a.now}
}

// Start binds the inbounds and starts the panels. When an inbound of the file cannot start, nothing
// does: the operator is there to read it. A panel's node that cannot start is tried again.
func (a *App) Start() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, in := range a.options.Inbounds {
		if err := a.startStatic(in); err != nil {
			return err
		}
	}
	a.started = time.Now()
	if err := a.startAdmin(a.options); err != nil {
		return err
	}
	a.panels.Start()
	a.startSaving()
	return nil
}

// Reload puts o in force: what did not change is not touched, its connections included. When o cannot
// be used the error says why and nothing changes; an inbound whose address is taken keeps its former
// settings and is named in the error.
func (a *App) Reload(o *option.Options) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return inbound.ErrClosed
	}
	if o.StateDir != a.options.StateDir {
		return fmt.Errorf("state_dir: changing %q to %q needs a restart", a.options.StateDir, o.StateDir)
	}
	for _, in := range o.Inbounds {
		if err := checkInbound(a.inbounds, o, in); err != nil {
			return err
		}
	}
	if keepsState(o) && a.lock == nil {
		lock, err := lockState(o.StateDir)
		if err != nil {
			return err
		}
		a.lock = lock
		a.startSaving()
	}
	a.geo.Use(geoPlaces(o)) // lists whose files changed are in force in the rules that name them
	if err := a.reloadRouting(o); err != nil {
		a.geo.Use(geoPlaces(a.options))
		return err
	}
	if err := a.router.RetryPanelRules(); err != nil {
		a.log.Warn("lines of panels' rules are left out", "err", err)
	}
	errs := []error{a.reloadStatic(o), a.reloadAdmin(o)}
	errs = append(errs, a.panels.Reload(o.Panels, o.Limits, o.Traffic))
	a.options = o
	return errors.Join(errs...)
}

// reloadRouting replaces the resolver, the outbounds and the rules where they changed, all or none. Connections
// keep the outbound they have.
func (a *App) reloadRouting(o *option.Options) error {
	if reflect.DeepEqual(a.options.DNS, o.DNS) {
		return a.reloadOutbounds(o)
	}
	client, err := dns.New(o.DNS, compileHosts(a.geo), a.log)
	if err != nil {
		return err
	}
	if err := a.reloadOutbounds(o); err != nil {
		return errors.Join(err, client.Close())
	}
	return a.resolver.replace(client) // takes the nodes' rules that the former client took
}

// reloadOutbounds replaces the outbounds and the rules, if either changed. On error both stay.
func (a *App) reloadOutbounds(o *option.Options) error {
	if reflect.DeepEqual(a.options.Outbounds, o.Outbounds) && reflect.DeepEqual(a.options.Route, o.Route) {
		return nil
	}
	set, err := a.buildOutbounds(o)
	if err != nil {
		return err
	}
	if err := a.router.Reload(o.Route, set); err != nil {
		return errors.Join(err, set.Close())
	}
	former := a.outbounds
	a.outbounds = set
	return former.Close()
}

// lastConns is how long connections may take to end: the final report needs the rest of the time.
const lastConns = 3 * time.Second

// closeInbounds ends all connections, after which the books are complete. One that hangs must not keep
// the others' traffic from being reported.
func (a *App) closeInbounds(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- a.inbounds.Close() }()
	timer := time.NewTimer(lastConns)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
	case <-ctx.Done():
	}
	return fmt.Errorf("connections did not end within %s; their last bytes may be missing in the report", lastConns)
}

// Close stops accepting, ends the connections, lets the panels have the final report and returns when
// all is closed or ctx is done. What could not be reported stays in the journal.
func (a *App) Close(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	if a.stopSaving != nil {
		a.stopSaving()
		a.saving.Wait()
	}
	err := errors.Join(a.closeInbounds(ctx), a.panels.Close(ctx), a.stopAdmin())
	for _, s := range a.static {
		s.node.Close()
	}
	if a.lock != nil {
		err = errors.Join(err, a.saveMemory())
	}
	return errors.Join(err, a.release())
}

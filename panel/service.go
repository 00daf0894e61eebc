package panel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"heki/internal/meter"
	"heki/option"
	"heki/panel/machine"
)

const (
	checkpointEvery = 10 * time.Second // bounds what a crash costs
	farewell        = 5 * time.Second  // for the last report of a node that was taken out of the configuration
)

// Config is what a Service needs. Panels, Limits and Traffic are validated.
type Config struct {
	Options  []option.Panel
	Limits   option.Limits
	Traffic  option.Traffic
	StateDir string
	Kinds    map[string]Kind // by panel type
	Host     Host
	Ledger   *meter.Ledger
	Log      *slog.Logger   // nil discards
	Machine  *machine.Meter // nil: panels are not told how the machine does

	// HTTP replaces the transport, Now the wall clock; for tests.
	HTTP http.RoundTripper
	Now  func() time.Time
}

// Service runs one actor for each node of each panel. Its methods are safe for concurrent use.
type Service struct {
	cfg   Config
	clock *clock
	began time.Time

	hard    context.Context // ends what may not be cut lightly: reports in flight
	hardEnd context.CancelFunc

	turn chan struct{} // capacity 1, full: one Reload, Close or list of a machine's nodes at a time

	mu       sync.Mutex
	started  bool
	closed   bool
	policy   meter.Policy
	actors   map[string]*actor // by tag
	fleets   map[string]*fleet // by panel name; written in turn
	clients  map[clientKey]*http.Client
	stopTick context.CancelFunc
	ticking  sync.WaitGroup
}

// New builds the service without touching the network. It opens every node's journal: an error means
// that state_dir cannot be written or that the options do not fit.
func New(cfg Config) (*Service, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Service{
		cfg: cfg, actors: make(map[string]*actor), fleets: make(map[string]*fleet), clients: make(map[clientKey]*http.Client),
		turn: make(chan struct{}, 1), began: cfg.Now(),
	}
	s.clock = newClock(cfg.Log, cfg.Now)
	s.hard, s.hardEnd = context.WithCancel(context.Background())
	plan, err := s.plan(cfg.Options, cfg.Limits, cfg.Traffic)
	if err == nil {
		s.muster(plan.fleets)
		s.policy = plan.policy
		err = s.open(plan.entries)
	}
	if err != nil {
		s.hardEnd()
		return nil, err
	}
	return s, nil
}

// entry is one node as the configuration has it.
type entry struct {
	tag    string
	panel  option.Panel // without its nodes
	node   option.PanelNode
	stream option.Stream // node over node_defaults
	limits option.Limits // node over node_defaults over the top
	client Client
}

// same tells whether e needs no restart to become other.
func (e *entry) same(other *entry) bool {
	return reflect.DeepEqual(e.panel, other.panel) && reflect.DeepEqual(e.node, other.node) &&
		reflect.DeepEqual(e.limits, other.limits)
}

// target is a whole configuration, ready to be run.
type target struct {
	entries []*entry // those of machines, as far as they are known
	fleets  []*fleetEntry
	policy  meter.Policy
}

// plan turns options into entries with clients. It changes nothing but the set of HTTP clients.
func (s *Service) plan(panels []option.Panel, top option.Limits, traffic option.Traffic) (*target, error) {
	policy, err := meter.ParsePolicy(traffic.OnAmbiguous)
	if err != nil {
		return nil, fmt.Errorf("traffic.on_ambiguous: %w", err)
	}
	t := &target{policy: policy}
	var errs []error
	for i := range panels {
		if err := s.planPanel(t, panels[i], &top); err != nil {
			errs = append(errs, fmt.Errorf("panel %q: %w", panels[i].Name, err))
		}
	}
	return t, errors.Join(errs...)
}

func (s *Service) planPanel(t *target, o option.Panel, top *option.Limits) error {
	kind, ok := s.cfg.Kinds[o.Type]
	if !ok {
		return fmt.Errorf("type %q is not served", o.Type)
	}
	nodes := o.Nodes
	switch {
	case o.MachineID != 0 && kind.Machine == nil:
		return fmt.Errorf("type %q has no machines", o.Type)
	case o.MachineID != 0:
		e := &fleetEntry{panel: o, top: *top}
		var err error
		if e.client, err = kind.Machine(s.fleetEnv(e), &e.panel); err != nil {
			return err
		}
		t.fleets = append(t.fleets, e)
		nodes = e.nodes(s.listed(e))
	case len(nodes) == 0 && kind.Nodes != nil:
		var err error
		if nodes, err = kind.Nodes(&o); err != nil {
			return err
		}
	}
	entries, err := s.entries(&o, nodes, top)
	t.entries = append(t.entries, entries...)
	return err
}

// entries are the nodes of the panel o, with clients.
func (s *Service) entries(o *option.Panel, nodes []option.PanelNode, top *option.Limits) ([]*entry, error) {
	kind := s.cfg.Kinds[o.Type]
	var entries []*entry
	var errs []error
	for _, n := range nodes {
		e := &entry{tag: Tag(o.Name, n.ID), panel: *o, node: n}
		e.panel.Nodes = nil
		e.stream = option.MergeStream(n.Stream, o.NodeDefaults)
		e.limits = option.MergeLimits(top, e.stream.Limits)
		client, err := kind.New(s.env(e), &e.panel, &e.node)
		if err != nil {
			errs = append(errs, fmt.Errorf("node %d: %w", n.ID, err))
			continue
		}
		e.client = client
		entries = append(entries, e)
	}
	return entries, errors.Join(errs...)
}

// Tag names the inbound of a panel's node, in logs, rules and files.
func Tag(panel string, id int64) string { return fmt.Sprintf("panel/%s/%d", panel, id) }

// env is what e's client gets.
func (s *Service) env(e *entry) Env {
	return Env{
		Tag:   e.tag,
		Dir:   filepath.Join(s.cfg.StateDir, e.panel.Type),
		HTTP:  s.httpClient(e.panel.Name, maxConnsPerHost),
		Long:  s.httpClient(e.panel.Name, 0),
		Now:   s.cfg.Now,
		Clock: s.clock.add,
		Say: func(level slog.Level, format string, args ...any) {
			s.say(level, e, format, args...)
		},
	}
}

// say logs with panel and node in front.
func (s *Service) say(level slog.Level, e *entry, format string, args ...any) {
	s.log(level, fmt.Sprintf("panel %q node %d: ", e.panel.Name, e.node.ID), format, args...)
}

func (s *Service) log(level slog.Level, front, format string, args ...any) {
	if s.cfg.Log.Enabled(context.Background(), level) {
		s.cfg.Log.Log(context.Background(), level, front+fmt.Sprintf(format, args...))
	}
}

// clientKey tells the HTTP clients of a panel apart.
type clientKey struct {
	panel string
	conns int // at most; 0 is no limit
}

// httpClient is one of a panel's.
func (s *Service) httpClient(panel string, conns int) *http.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := clientKey{panel, conns}
	if c := s.clients[key]; c != nil {
		return c
	}
	transport := s.cfg.HTTP
	if transport == nil {
		transport = newTransport(conns)
	}
	c := newHTTPClient(transport)
	s.clients[key] = c
	return c
}

// open makes the actors of entries that there are not yet.
func (s *Service) open(entries []*entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, e := range entries {
		if s.actors[e.tag] != nil {
			continue
		}
		a, err := newActor(s, e)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.tag, err))
			continue
		}
		s.actors[e.tag] = a
	}
	return errors.Join(errs...)
}

// Start sets every node going and returns at once: a slow panel holds up nobody.
func (s *Service) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.closed {
		return
	}
	s.started = true
	s.startLocked()
	ctx, cancel := context.WithCancel(context.Background())
	s.stopTick = cancel
	s.ticking.Go(func() { s.tick(ctx) })
}

// startLocked sets going what is new, if the service runs. The others do not notice.
func (s *Service) startLocked() {
	if !s.started || s.closed {
		return
	}
	for _, a := range s.actors {
		a.start()
	}
	for _, f := range s.fleets {
		f.start()
	}
}

// tick brings the counters to disk, also while a panel keeps an actor waiting.
func (s *Service) tick(ctx context.Context) {
	ticker := time.NewTicker(checkpointEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, a := range s.list() {
			a.checkpoint()
		}
	}
}

func (s *Service) list() []*actor {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*actor, 0, len(s.actors))
	for _, a := range s.actors {
		all = append(all, a)
	}
	return all
}

// Close stops syncing and reports what is left until ctx ends; the rest stays journalled for the next
// start. The inbounds are the host's and must be closed before, so that nothing is counted any more.
func (s *Service) Close(ctx context.Context) error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	started := s.started
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	if started {
		s.stopTick()
		s.ticking.Wait()
	}
	for _, f := range s.fleets {
		f.life.stop()
	}
	stop := context.AfterFunc(ctx, s.hardEnd)
	defer stop()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, a := range s.list() {
		wg.Go(func() {
			a.stop()
			if !started {
				return // never ran: its journal waits for a service that does
			}
			err := a.last(s.hard, a.floor()) // the rest waits on disk for the next start
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	wg.Wait()
	s.hardEnd()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clients {
		c.CloseIdleConnections()
	}
	return errors.Join(errs...)
}

// Offset is what to add to this machine's clock to get the panels' time: the median of the last
// answers, 0 before the first.
func (s *Service) Offset() time.Duration { return s.clock.offset() }

// SyncNow makes the node with the tag sync at once instead of at the end of its interval; "" is all.
func (s *Service) SyncNow(tag string) {
	for _, a := range s.list() {
		if tag == "" || a.tag == tag {
			a.wake()
		}
	}
	if tag == "" {
		for _, f := range s.listFleets() {
			f.wake()
		}
	}
}

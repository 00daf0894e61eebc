// Package dns finds the addresses of hosts: a bounded cache, one query for all who ask for the same
// name at the same time, servers tried in order, and old answers while no server answers.
package dns

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"heki/constant"
	"heki/option"
)

var (
	// ErrNoHost is wrapped when servers say that there is no such name, and for names that cannot be.
	ErrNoHost = errors.New("no such host")
	// ErrNoAddress is returned when a name has no address in the families that the strategy allows.
	ErrNoAddress = errors.New("host has no address of a wanted family")
	// ErrBusy is returned when more than maxFlights names are being asked for.
	ErrBusy = errors.New("too many lookups at once")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("resolver is closed")
)

const (
	maxFlights  = 4096                   // names asked for at once
	negativeTTL = 30 * time.Second       // at most, for "no such host" and answers with a family missing
	secondWait  = 300 * time.Millisecond // for the second family once the first has addresses
	staleFor    = time.Hour              // after its end an answer may still stand in
	staleRetry  = 10 * time.Second       // how long a stale answer is used before servers are asked again
	standInTTL  = 30 * time.Second       // at most, for answers of servers that stood in for those of a rule
	staleAfter  = 2 * time.Second        // RFC 8767 §5: what a client waits before it gets a stale answer
	downFor     = 10 * time.Second       // how long a server that did not answer is asked last
)

// Client implements adapter.Resolver.
type Client struct {
	log      *slog.Logger
	strategy string
	maxTTL   time.Duration
	cache    *cache
	own      []*server // of the file, and the system
	defaults []*server // of final, or all, and the system
	rules    []rule
	final    *set
	nodes    atomic.Pointer[map[string]*policy] // by inbound tag

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	running int // flights
	pool    pool
}

// New builds a client of validated options. compile serves their rules and may be nil without. Mistakes
// in addresses and rules are reported with their place. It asks nobody.
func New(o option.DNS, compile Compile, log *slog.Logger) (*Client, error) {
	c := newClient(o, log)
	known, err := c.addServers(o)
	if err == nil {
		err = c.addRules(o, known, compile)
	}
	if err != nil {
		c.cancel()
		return nil, err
	}
	return c, nil
}

func newClient(o option.DNS, log *slog.Logger) *Client {
	c := &Client{log: log, strategy: o.Strategy, maxTTL: time.Duration(o.Cache.TTL), cache: newCache(o.Cache.Size)}
	c.pool = pool{sets: make(map[string]*set), servers: make(map[string]*server)}
	c.nodes.Store(new(map[string]*policy))
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Lookup implements adapter.Resolver. A name in the cache costs no allocation. The query behind a
// lookup goes on when ctx ends, for whoever asks next. Errors do not repeat the host.
func (c *Client) Lookup(ctx context.Context, inbound, host string) ([]netip.Addr, error) {
	if addr, err := literal(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	name, err := normalise(host)
	if err != nil {
		return nil, err
	}
	var found entry
	var f *flight
	for f == nil {
		to := c.choose(inbound, name)
		var fresh bool
		if found, fresh = c.cache.get(key{to.id, name}, time.Now()); fresh {
			return found.addrs, found.err
		}
		if f, err = c.join(to, name); err != nil && !errors.Is(err, errReleased) {
			return nil, err
		}
	}
	var hurry <-chan time.Time
	if found.addrs != nil {
		timer := time.NewTimer(staleAfter)
		defer timer.Stop()
		hurry = timer.C
	}
	select {
	case <-f.done:
		return f.addrs, f.err
	case <-hurry:
		return found.addrs, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Close ends lookups and connections, and waits for both.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
	var errs []error
	for _, s := range c.own {
		errs = append(errs, s.Close())
	}
	for _, s := range c.pool.servers { // nobody changes it any more
		if !s.fixed {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// errReleased says that the policy changed while a name was looked up.
var errReleased = errors.New("servers are not in use any more")

// flight is one lookup in progress. addrs and err are set before done is closed.
type flight struct {
	done  chan struct{}
	addrs []netip.Addr
	err   error
}

// join returns the flight for name by way of to, a new one when there is none.
func (c *Client) join(to *set, name string) (*flight, error) {
	return c.cache.flight(key{to.id, name}, func(f *flight) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case c.closed:
			return ErrClosed
		case c.running >= maxFlights:
			return ErrBusy
		case to.uses == 0: // its servers may be closed
			return errReleased
		}
		c.running++
		to.uses++
		c.wg.Go(func() { c.fly(to, name, f) })
		return nil
	})
}

// fly resolves name for everyone who waits on f.
func (c *Client) fly(to *set, name string, f *flight) {
	ctx, cancel := context.WithTimeout(c.ctx, constant.DNSTimeout)
	defer cancel()
	e := c.resolve(ctx, to, name)
	if c.ctx.Err() != nil {
		e = entry{err: ErrClosed}
	}
	f.addrs, f.err = c.cache.land(key{to.id, name}, e, time.Now())
	c.mu.Lock()
	c.running--
	unused := c.pool.releaseLocked(to)
	c.mu.Unlock()
	close(f.done)
	closeServers(unused)
}

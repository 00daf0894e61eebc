// Package dns finds the addresses of hosts: a bounded cache, one query for all who ask for the same
// name at the same time, servers tried in order, and old answers while no server answers.
package dns

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
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
	staleAfter  = 2 * time.Second        // RFC 8767 §5: what a client waits before it gets a stale answer
	downFor     = 10 * time.Second       // how long a server that did not answer is asked last
)

// Client implements adapter.Resolver.
type Client struct {
	servers  []*server
	families []bool // ipv6 or not, the preferred one first
	maxTTL   time.Duration
	cache    *cache

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	running int // flights
}

// New builds a client of validated options. Mistakes in addresses are reported with their place. It
// asks nobody.
func New(o option.DNS, log *slog.Logger) (*Client, error) {
	servers, err := newServers(o, log)
	if err != nil {
		return nil, err
	}
	return newClient(servers, o), nil
}

func newClient(servers []*server, o option.DNS) *Client {
	c := &Client{servers: servers, maxTTL: time.Duration(o.Cache.TTL)}
	switch o.Strategy {
	case "ipv4_only":
		c.families = []bool{false}
	case "ipv6_only":
		c.families = []bool{true}
	case "ipv6_first":
		c.families = []bool{true, false}
	default:
		c.families = []bool{false, true}
	}
	c.cache = newCache(o.Cache.Size)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Lookup implements adapter.Resolver. A name in the cache costs no allocation. The query behind a
// lookup goes on when ctx ends, for whoever asks next. Errors do not repeat the host.
func (c *Client) Lookup(ctx context.Context, _, host string) ([]netip.Addr, error) {
	if addr, err := literal(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	name, err := normalise(host)
	if err != nil {
		return nil, err
	}
	found, fresh := c.cache.get(name, time.Now())
	if fresh {
		return found.addrs, found.err
	}
	f, err := c.join(name)
	if err != nil {
		return nil, err
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
	for _, s := range c.servers {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// flight is one lookup in progress. addrs and err are set before done is closed.
type flight struct {
	done  chan struct{}
	addrs []netip.Addr
	err   error
}

// join returns the flight for name, a new one when there is none.
func (c *Client) join(name string) (*flight, error) {
	return c.cache.flight(name, func(f *flight) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case c.closed:
			return ErrClosed
		case c.running >= maxFlights:
			return ErrBusy
		}
		c.running++
		c.wg.Go(func() { c.fly(name, f) })
		return nil
	})
}

// fly resolves name for everyone who waits on f.
func (c *Client) fly(name string, f *flight) {
	ctx, cancel := context.WithTimeout(c.ctx, constant.DNSTimeout)
	defer cancel()
	e := c.resolve(ctx, name)
	if c.ctx.Err() != nil {
		e = entry{err: ErrClosed}
	}
	f.addrs, f.err = c.cache.land(name, e, time.Now())
	c.mu.Lock()
	c.running--
	c.mu.Unlock()
	close(f.done)
}

package dns

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// entry is one outcome: addresses, or an error that holds for a while. An error that is not to be
// kept has no ttl.
type entry struct {
	addrs []netip.Addr
	err   error
	ttl   time.Duration
	keep  bool // a server said so; else err is a failure
}

const (
	maxShards = 32 // locks of a cache
	minShard  = 64 // names in a shard: small ones would fill unevenly and drop names in use
)

// cache keeps the names used last, and the flights for those it lacks. It is split into shards, each
// with its own lock and order of use.
type cache struct {
	seed   maphash.Seed
	shards []shard // a power of two
}

type shard struct {
	mu      sync.Mutex
	size    int
	items   map[key]*item
	newest  item // root of the ring; next is the item used last, prev the one to go
	flights map[key]*flight
}

// key is a name and the set of servers that answered for it: policies must not mix.
type key struct {
	set  uint64
	name string
}

type item struct {
	key        key
	addrs      []netip.Addr
	err        error
	expires    time.Time
	stale      time.Time // until then addrs may stand in for a failed lookup
	prev, next *item
}

// newCache holds at most size names, at least 1.
func newCache(size int) *cache {
	size = max(size, 1)
	n := 1
	for n < maxShards && 2*n*minShard <= size {
		n *= 2
	}
	c := &cache{seed: maphash.MakeSeed(), shards: make([]shard, n)}
	for i := range c.shards {
		s := &c.shards[i]
		s.size = size / n
		s.items = make(map[key]*item)
		s.flights = make(map[key]*flight)
		s.newest.prev, s.newest.next = &s.newest, &s.newest
	}
	return c
}

func (c *cache) shard(k key) *shard {
	return &c.shards[(maphash.String(c.seed, k.name)+k.set)&uint64(len(c.shards)-1)]
}

// get returns what is known of k. When it is not fresh, its addresses, if any, may stand in.
func (c *cache) get(k key, now time.Time) (found entry, fresh bool) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	it := s.items[k]
	if it == nil {
		return entry{}, false
	}
	s.useLocked(it)
	if now.Before(it.expires) {
		return entry{addrs: it.addrs, err: it.err}, true
	}
	if now.Before(it.stale) {
		return entry{addrs: it.addrs}, false
	}
	return entry{}, false
}

// flight returns the flight for k; when there is none it makes one, if start agrees.
func (c *cache) flight(k key, start func(*flight) error) (*flight, error) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[k]; f != nil {
		return f, nil
	}
	f := &flight{done: make(chan struct{})}
	if err := start(f); err != nil {
		return nil, err
	}
	s.flights[k] = f
	return f, nil
}

// land keeps the outcome of the flight for k, ends it and returns what its waiters get: e, or the
// last addresses when no server answered.
func (c *cache) land(k key, e entry, now time.Time) ([]netip.Addr, error) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flights, k)
	it := s.items[k]
	if !e.keep {
		if it == nil || it.addrs == nil || !now.Before(it.stale) {
			return nil, e.err
		}
		it.expires = now.Add(staleRetry)
		return it.addrs, nil
	}
	if it == nil {
		if len(s.items) >= s.size {
			s.evictLocked()
		}
		it = &item{key: k}
		it.prev, it.next = it, it
		s.items[k] = it
	}
	it.addrs, it.err, it.expires, it.stale = e.addrs, e.err, now.Add(e.ttl), time.Time{}
	if e.err == nil {
		it.stale = it.expires.Add(staleFor)
	}
	s.useLocked(it)
	return it.addrs, it.err
}

// useLocked moves it to the front.
func (s *shard) useLocked(it *item) {
	if s.newest.next == it {
		return
	}
	it.prev.next, it.next.prev = it.next, it.prev
	it.prev, it.next = &s.newest, s.newest.next
	it.next.prev = it
	s.newest.next = it
}

// evictLocked drops the item that was not used for longest.
func (s *shard) evictLocked() {
	old := s.newest.prev
	old.prev.next, old.next.prev = old.next, old.prev
	delete(s.items, old.key)
}

package match

import (
	"hash/maphash"
	"sync"
	"time"
)

// Filter tells what it sees for the first time. It keeps a keyed hash of 64 bits of each thing, in two
// halves that take turns: a false alarm has a chance of 2^-43 when full.
type Filter struct {
	seed   maphash.Seed
	period time.Duration
	limit  int

	mu       sync.Mutex
	since    time.Time // when now was begun
	now, old map[uint64]struct{}
}

// NewFilter returns one that remembers for period at least and for twice that at most, but no more than
// limit things in each half: one that is full forgets earlier. It costs 12 bytes a thing.
func NewFilter(period time.Duration, limit int) *Filter {
	return &Filter{seed: maphash.MakeSeed(), period: period, limit: limit, now: make(map[uint64]struct{})}
}

// First reports whether the parts were not seen before, and notes them.
func (f *Filter) First(now time.Time, parts ...[]byte) bool {
	return f.see(now, f.hash(parts), true)
}

// Has reports whether the parts were seen before.
func (f *Filter) Has(now time.Time, parts ...[]byte) bool {
	return !f.see(now, f.hash(parts), false)
}

func (f *Filter) hash(parts [][]byte) uint64 {
	var h maphash.Hash
	h.SetSeed(f.seed)
	for _, p := range parts {
		_, _ = h.Write(p) // never fails
	}
	return h.Sum64()
}

func (f *Filter) see(now time.Time, key uint64, note bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turnLocked(now)
	if _, seen := f.now[key]; seen {
		return false
	}
	if _, seen := f.old[key]; seen {
		return false
	}
	if note {
		f.now[key] = struct{}{}
	}
	return true
}

// turnLocked begins a new half when the period is over or the half is full.
func (f *Filter) turnLocked(now time.Time) {
	age := now.Sub(f.since)
	switch {
	case age < 0: // the clock was corrected: rather remember for longer
		f.since = now
	case age >= 2*f.period:
		f.old, f.now, f.since = nil, make(map[uint64]struct{}), now
	case age >= f.period || len(f.now) >= f.limit:
		f.old, f.now, f.since = f.now, make(map[uint64]struct{}), now
	}
}

package match

import (
	"net/netip"
	"sync"
	"time"
)

// banLimit bounds the addresses of a Bans in each half: 6 MiB.
const banLimit = 1 << 16

// Bans count who fails to authenticate, by address, and refuse those who do it too often for a while.
// IPv6 addresses count by their /64. The zero value refuses nobody.
type Bans struct {
	count  int // failures that are one too many; 0 is off
	window time.Duration
	ban    time.Duration
	limit  int

	mu       sync.Mutex
	now, old map[sourceKey]failures
}

// failures are those of one address. Times are nanoseconds since 1970.
type failures struct {
	n     int
	since int64 // when the window began
	until int64 // when the ban ends
}

// NewBans refuses an address for so long after count failures within window. A count of 0 is off.
func NewBans(count int, window, ban time.Duration) *Bans {
	return &Bans{count: count, window: window, ban: ban, limit: banLimit, now: make(map[sourceKey]failures)}
}

// Banned says whether addr is to be refused.
func (b *Bans) Banned(addr netip.Addr, now time.Time) bool {
	if b.count == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.getLocked(keyOf(addr))
	return now.UnixNano() < f.until
}

// Failed notes a failure of addr and reports whether it is the one that bans.
func (b *Bans) Failed(addr netip.Addr, now time.Time) bool {
	if b.count == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	key, at := keyOf(addr), now.UnixNano()
	f := b.getLocked(key)
	if at-f.since > int64(b.window) || at < f.since {
		f.n, f.since = 0, at
	}
	f.n++
	banned := f.n == b.count
	if banned {
		f = failures{until: at + int64(b.ban)}
	}
	b.putLocked(key, f)
	return banned
}

func (b *Bans) getLocked(key sourceKey) failures {
	if f, ok := b.now[key]; ok {
		return f
	}
	return b.old[key]
}

// putLocked begins a new half when this one is full.
func (b *Bans) putLocked(key sourceKey, f failures) {
	if _, there := b.now[key]; !there && len(b.now) >= b.limit {
		b.old, b.now = b.now, make(map[sourceKey]failures)
	}
	b.now[key] = f
}

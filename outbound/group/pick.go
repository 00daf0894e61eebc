package group

import (
	"math"
	"math/rand/v2"

	"heki/adapter"
	"heki/option"
)

// start is what the order of the members depends on beside them, for one connection.
func (g *Group) start(md *adapter.Metadata) uint64 {
	switch g.pick {
	case option.PickRoundRobin, option.PickLeastConn:
		return g.turn.Add(1) - 1
	case option.PickUser:
		if md.User != nil {
			return hashText(basis, md.User.Name)
		}
		return hashSource(md)
	case option.PickSource:
		return hashSource(md)
	case option.PickDomain:
		return hashDomain(md)
	}
	return rand.Uint64()
}

// next is the member to ask now: of those that are not in tried, one bit each, the best that works, and
// of none does, the best. Not all may be in tried. It takes no lock: counters may move while it looks.
func (g *Group) next(start, tried uint64) int {
	best, bestScore, bestDown := -1, uint64(0), false
	for i, m := range g.members {
		if tried&(1<<i) != 0 {
			continue
		}
		score, down := g.score(i, m, start), m.down.Load()
		if best < 0 || bestDown && !down || bestDown == down && score < bestScore {
			best, bestScore, bestDown = i, score, down
		}
	}
	return best
}

// score is how far back member i stands.
func (g *Group) score(i int, m *member, start uint64) uint64 {
	n := uint64(len(g.members))
	turn := (uint64(i) + n - start%n) % n
	switch g.pick {
	case option.PickRoundRobin:
		return turn
	case option.PickLeastConn:
		return uint64(max(m.conns.Load(), 0))*option.MaxGroup + turn
	case option.PickLeastLatency:
		if d := m.latency.Load(); d > 0 {
			return uint64(d)
		}
		return math.MaxUint64
	}
	// Rendezvous hashing: without a member, only what was that member's moves. With a random start it is
	// an order by chance.
	return mix(start ^ m.seed)
}

// FNV-1a of 64 bits, which is the same in every process: a user stays at a member over restarts, and
// over nodes.
const (
	basis = 14695981039346656037
	prime = 1099511628211
)

func hashText(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * prime
	}
	return h
}

func hashBytes(h uint64, b []byte) uint64 {
	for _, c := range b {
		h = (h ^ uint64(c)) * prime
	}
	return h
}

func hashSource(md *adapter.Metadata) uint64 {
	b := md.Source.Addr().As16()
	return hashBytes(basis, b[:])
}

// hashDomain is of the name that the client asks for, or of the address where it asks for none.
func hashDomain(md *adapter.Metadata) uint64 {
	name := md.Domain
	if name == "" {
		name = md.Destination.Fqdn
	}
	if name == "" {
		b := md.Destination.Addr.As16()
		return hashBytes(basis, b[:])
	}
	h := uint64(basis)
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		h = (h ^ uint64(c)) * prime
	}
	return h
}

// mix spreads the bits of x over the whole: the finalizer of MurmurHash3.
func mix(x uint64) uint64 {
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

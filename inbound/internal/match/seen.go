package match

import (
	"hash/maphash"
	"sync/atomic"
)

// Seen tells what it sees for the first time, without a lock and without allocating, for the path of
// datagrams. It keeps keyed hashes of 64 bits in a table of one size: what comes forgets what it
// displaces, four candidates back at the least.
type Seen struct {
	seed  maphash.Seed
	table []atomic.Uint64
}

// seenWays is how many places a hash may have.
const seenWays = 4

// NewSeen returns one for 2^bits things, of 8 bytes each.
func NewSeen(bits int) *Seen {
	return &Seen{seed: maphash.MakeSeed(), table: make([]atomic.Uint64, 1<<bits)}
}

// First notes b and reports whether it was not there yet. Of those who bring the same at the same
// moment, more than one may be the first.
func (s *Seen) First(b []byte) bool {
	h := maphash.Bytes(s.seed, b) | 1 // never 0, which is nothing
	set := s.table[h>>1&uint64(len(s.table)-1)&^(seenWays-1):][:seenWays]
	for i := range set {
		switch set[i].Load() {
		case h:
			return false
		case 0:
			if set[i].CompareAndSwap(0, h) {
				return true
			}
			if set[i].Load() == h {
				return false
			}
		}
	}
	for i := seenWays - 1; i > 0; i-- { // the oldest is the last
		set[i].Store(set[i-1].Load())
	}
	set[0].Store(h)
	return true
}

package match

import (
	"sync"
	"sync/atomic"
)

// RecentSize is how many users a Recent holds.
const RecentSize = 512

// Recent holds the users that authenticated lately from anywhere: most who come from a new address are
// among them. K is what is tried; Hot is for Recent alone. Reading takes no lock. The zero value is
// empty.
type Recent[K any, P interface {
	*K
	Hot() *atomic.Bool
}] struct {
	ring [RecentSize]atomic.Pointer[K]

	mu   sync.Mutex
	next int
}

// Note adds k, in place of the one that was added longest ago.
func (r *Recent[K, P]) Note(k *K) {
	hot := P(k).Hot()
	if hot.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !hot.CompareAndSwap(false, true) {
		return
	}
	if old := r.ring[r.next].Swap(k); old != nil {
		P(old).Hot().Store(false)
	}
	r.next = (r.next + 1) % RecentSize
}

// At returns one of them, i being below RecentSize; nil says that there are no more.
func (r *Recent[K, P]) At(i int) *K { return r.ring[i].Load() }

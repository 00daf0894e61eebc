package vmess

import (
	"sync"
	"sync/atomic"

	"heki/internal/protocol/vmess"
)

// recentSize is how many users recent holds: 10 µs to try.
const recentSize = 512

// recent holds the users that authenticated lately from anywhere: most who come from a new address
// are among them. Reading takes no lock.
type recent struct {
	ring [recentSize]atomic.Pointer[keys]

	mu   sync.Mutex
	next int
}

// note adds k, in place of the one that was added longest ago.
func (r *recent) note(k *keys) {
	if k.hot.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !k.hot.CompareAndSwap(false, true) {
		return
	}
	if old := r.ring[r.next].Swap(k); old != nil {
		old.hot.Store(false)
	}
	r.next = (r.next + 1) % recentSize
}

// scan tries them; those who are not in users any more count for nothing.
func (r *recent) scan(users *set, id []byte, plain *[vmess.AuthIDSize]byte) (*entry, int64) {
	for i := range r.ring {
		k := r.ring[i].Load()
		if k == nil {
			break
		}
		unix, ok := vmess.OpenAuthID(k.block, id, plain)
		if !ok {
			continue
		}
		if who, ok := users.findAEAD(k.id); ok && who.uuid == k.uuid {
			return who, unix
		}
	}
	return nil, 0
}

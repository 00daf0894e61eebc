package ss2022

import "sync"

const (
	windowWords = 128
	// windowSize is how far behind the newest a datagram may come: one word less than there are, since
	// the newest need not fill its own.
	windowSize = (windowWords - 1) * 64
)

// ReplayWindow tells which datagram ids of a session are new. The zero value has seen none. It is for
// any number of goroutines.
//
// Source: RFC 6479, whose ring of words it is.
type ReplayWindow struct {
	mu   sync.Mutex
	last uint64
	ring [windowWords]uint64
	any  bool
}

// Has reports whether id was seen, or is too old to tell.
func (w *ReplayWindow) Has(id uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hasLocked(id)
}

func (w *ReplayWindow) hasLocked(id uint64) bool {
	switch {
	case !w.any || id > w.last:
		return false
	case w.last-id >= windowSize:
		return true
	}
	return w.ring[id/64%windowWords]&(1<<(id%64)) != 0
}

// Add notes id and reports whether it was new.
func (w *ReplayWindow) Add(id uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hasLocked(id) {
		return false
	}
	if !w.any {
		w.any, w.last = true, id
		w.ring[id/64%windowWords] = 1 << (id % 64)
		return true
	}
	if id > w.last {
		from, to := w.last/64, id/64
		for i := range min(to-from, windowWords) {
			w.ring[(from+1+i)%windowWords] = 0
		}
		w.last = id
	}
	w.ring[id/64%windowWords] |= 1 << (id % 64)
	return true
}

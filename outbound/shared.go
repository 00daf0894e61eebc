package outbound

import (
	"sync/atomic"

	"heki/adapter"
)

// Shared is an outbound that is taken out of service while connections use it: it closes once nobody does.
type Shared struct {
	adapter.Outbound

	uses atomic.Int64 // the owner's is one of them
}

// Share returns out with one use, the caller's, who ends it by Release.
func Share(out adapter.Outbound) *Shared {
	s := &Shared{Outbound: out}
	s.uses.Store(1)
	return s
}

// Take notes one more use, unless the outbound is closed.
func (s *Shared) Take() bool {
	for {
		uses := s.uses.Load()
		if uses == 0 {
			return false
		}
		if s.uses.CompareAndSwap(uses, uses+1) {
			return true
		}
	}
}

// Release ends one use. The last one closes the outbound.
func (s *Shared) Release() {
	if s.uses.Add(-1) == 0 {
		_ = s.Outbound.Close()
	}
}

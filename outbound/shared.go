package outbound

import (
	"sync"

	"heki/adapter"
)

// Shared is an outbound that is taken out of service while connections use it: it closes once nobody does.
type Shared struct {
	adapter.Outbound

	mu   sync.Mutex
	uses int // the owner's is one of them
}

// Share returns out with one use, the caller's, who ends it by Release.
func Share(out adapter.Outbound) *Shared { return &Shared{Outbound: out, uses: 1} }

// Take notes one more use, unless the outbound is closed.
func (s *Shared) Take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uses == 0 {
		return false
	}
	s.uses++
	return true
}

// Release ends one use. The last one closes the outbound.
func (s *Shared) Release() {
	s.mu.Lock()
	s.uses--
	last := s.uses == 0
	s.mu.Unlock()
	if last {
		_ = s.Outbound.Close()
	}
}

package reality

import "sync"

// maxSeen is how many authenticated ClientHellos are remembered, at least; the memory holds twice as
// many, in 3 MiB.
const maxSeen = 16 << 10

// seen remembers ClientHellos, so that one that was captured and is sent again meets the target. Only
// users get something in.
type seen struct {
	mu       sync.Mutex
	now, old map[[16]byte]struct{}
}

// add reports whether tag is new, and remembers it.
func (s *seen) add(tag [16]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.now[tag]; ok {
		return false
	}
	if _, ok := s.old[tag]; ok {
		return false
	}
	if s.now == nil || len(s.now) >= maxSeen {
		s.old, s.now = s.now, make(map[[16]byte]struct{})
	}
	s.now[tag] = struct{}{}
	return true
}

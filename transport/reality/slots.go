package reality

import (
	"container/list"
	"sync"
)

// slots bounds how many connections are in one state. The newest always gets in: when all are taken
// the oldest is ended, so that scanners who stay cannot keep users out.
type slots struct {
	max int

	mu    sync.Mutex
	taken list.List // of func(), oldest first
}

// take gets a slot for a connection that end ends. end must not block.
func (s *slots) take(end func()) *list.Element {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken.Len() >= s.max {
		oldest, _ := s.taken.Remove(s.taken.Front()).(func())
		oldest()
	}
	return s.taken.PushBack(end)
}

// release gives a slot back. One that is given back already, or was taken away, is nothing.
func (s *slots) release(e *list.Element) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken.Remove(e)
}

func (s *slots) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken.Len()
}

package shadowsocks

import (
	"context"
	"sync"
)

// maxSearches bounds the datagrams that wait for a search, or are searched for, each of which holds two
// buffers. More are dropped, as on a full socket.
const maxSearches = 256

// searches runs what takes too long for a socket's loop.
type searches struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	n    int
	over bool
}

func (s *searches) init() { s.ctx, s.cancel = context.WithCancel(context.Background()) }

// start runs f and reports true, or reports that there are too many already.
func (s *searches) start(f func(ctx context.Context)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.n >= maxSearches {
		return false
	}
	s.n++
	s.wg.Go(func() {
		defer func() {
			s.mu.Lock()
			s.n--
			s.mu.Unlock()
		}()
		f(s.ctx)
	})
	return true
}

// close ends those that wait and waits for all.
func (s *searches) close() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
}

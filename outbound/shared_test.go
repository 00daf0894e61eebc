package outbound

import (
	"sync"
	"testing"

	"heki/adapter"
)

// closing counts how often it is closed.
type closing struct {
	adapter.Outbound
	closed int
}

func (c *closing) Close() error {
	c.closed++
	return nil
}

// TestShared: the last user closes it, nobody twice, and nobody takes it afterwards.
func TestShared(t *testing.T) {
	out := new(closing)
	s := Share(out)
	var wg sync.WaitGroup
	for range 8 {
		if !s.Take() {
			t.Fatal("not taken while it is in service")
		}
		wg.Go(func() {
			for range 100 {
				if !s.Take() {
					t.Error("not taken while it is used")
				}
				s.Release()
			}
		})
	}
	wg.Wait()
	s.Release() // out of service
	for range 7 {
		s.Release()
	}
	if out.closed != 0 {
		t.Error("closed while one uses it")
	}
	if !s.Take() {
		t.Error("who still finds it while one uses it may have it")
	}
	s.Release()
	s.Release()
	if out.closed != 1 || s.Take() {
		t.Errorf("closed %d times", out.closed)
	}
}

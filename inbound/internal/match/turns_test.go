package match

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever waits longer than a handshake may take is nobody.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns()
		all := turns.free
		for range all {
			if err := turns.Take(t.Context(), addrOf(1), time.Second); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		if err := turns.Take(t.Context(), addrOf(1), 3*time.Second); !errors.Is(err, ErrBusy) || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			err := turns.Take(t.Context(), addrOf(1), time.Minute)
			if err != nil || time.Since(start) != 5*time.Second {
				t.Errorf("%v after %s", err, time.Since(start))
				return
			}
			turns.Done()
		})
		time.Sleep(2 * time.Second)
		turns.Done()
		wg.Wait()
		if err := turns.Take(t.Context(), addrOf(1), time.Minute); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := turns.Take(ctx, addrOf(1), time.Minute); !errors.Is(err, context.Canceled) {
			t.Errorf("an inbound that closes: %v", err)
		}
		for range all {
			turns.Done()
		}
		if turns.free != all || len(turns.queues) > 0 || len(turns.next) > 0 {
			t.Errorf("%d of %d turns are free, %d wait", turns.free, all, len(turns.queues))
		}
	})
}

// An address that floods waits for itself.
func TestTurnsAreFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns()
		for range turns.free {
			if err := turns.Take(t.Context(), addrOf(1), time.Second); err != nil {
				t.Fatal(err)
			}
		}
		var order []int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, who := range []int{1, 1, 1, 1, 2, 3, 2} {
			wg.Go(func() {
				if err := turns.Take(t.Context(), addrOf(who), time.Minute); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, who)
				mu.Unlock()
				time.Sleep(time.Second)
				turns.Done()
			})
			synctest.Wait()
		}
		turns.Done() // one turn for all from here on
		wg.Wait()
		if want := []int{1, 2, 3, 1, 2, 1, 1}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
	})
}

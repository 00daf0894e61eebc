package match

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Strangers wait for turns; whoever waits longer than a handshake may take is nobody.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns()
		for range cap(turns) {
			if err := turns.Take(t.Context(), time.Second); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		if err := turns.Take(t.Context(), 3*time.Second); !errors.Is(err, ErrBusy) || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			err := turns.Take(t.Context(), time.Minute)
			if err != nil || time.Since(start) != 5*time.Second {
				t.Errorf("%v after %s", err, time.Since(start))
				return
			}
			turns.Done()
		})
		time.Sleep(2 * time.Second)
		turns.Done()
		wg.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 2 * cap(turns) {
			_ = turns.Take(t.Context(), time.Second)
		}
		if err := turns.Take(ctx, time.Minute); !errors.Is(err, context.Canceled) {
			t.Errorf("an inbound that closes: %v", err)
		}
	})
}

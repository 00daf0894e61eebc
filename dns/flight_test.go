package dns

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"heki/dns/upstream"
)

func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{handle: func(ctx context.Context, name string, ipv6 bool) (upstream.Answer, error) {
			time.Sleep(time.Second)
			return both(time.Minute)(ctx, name, ipv6)
		}}
		c := newTest(t, "ipv4_first", f)
		defer mustClose(t, c)
		reason := errors.New("first caller left")
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Lookup(ctx, "", "a.example"); !errors.Is(err, reason) {
				t.Errorf("err = %v, want the reason", err)
			}
		})
		synctest.Wait()
		for range 50 {
			wg.Go(func() { mustLookup(t, c, "a.example", addr4, addr6) })
		}
		synctest.Wait()
		cancel(reason)
		wg.Wait()
		if n := f.count(); n != 2 {
			t.Errorf("%d queries for 51 lookups, want 2", n)
		}
		// Nobody waits any more, and the answer is still kept.
		ctx, cancel = context.WithCancelCause(t.Context())
		cancel(reason)
		_, _ = c.Lookup(ctx, "", "b.example")
		time.Sleep(2 * time.Second)
		f.count()
		mustLookup(t, c, "b.example", addr4, addr6)
		if n := f.count(); n != 0 {
			t.Errorf("%d queries for a name that was asked for before, want 0", n)
		}
	})
}

func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{handle: both(time.Minute)}
		c := newTest(t, "ipv4_first", f)
		defer mustClose(t, c)
		mustLookup(t, c, "a.example", addr4, addr6)
		time.Sleep(2 * time.Minute)
		f.set(refused)
		f.count()
		mustLookup(t, c, "a.example", addr4, addr6)
		mustLookup(t, c, "a.example", addr4, addr6)
		if n := f.count(); n != 2 {
			t.Errorf("%d queries within 10s of a failure, want 2", n)
		}
		time.Sleep(staleRetry)
		f.set(silent) // the caller does not wait for all of the 5 s
		begin := time.Now()
		mustLookup(t, c, "a.example", addr4, addr6)
		if d := time.Since(begin); d != staleAfter {
			t.Errorf("a stale answer took %s, want %s", d, staleAfter)
		}
		time.Sleep(time.Hour)
		f.set(refused)
		if got, err := c.Lookup(t.Context(), "", "a.example"); !errors.Is(err, errRefused) {
			t.Errorf("after an hour: %v, %v, want an error", got, err)
		}
	})
}

func TestStaleIsGoneWithTheName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{handle: both(time.Second)}
		c := newTest(t, "ipv4_first", f)
		defer mustClose(t, c)
		mustLookup(t, c, "a.example", addr4, addr6)
		time.Sleep(time.Minute)
		f.set(func(context.Context, string, bool) (upstream.Answer, error) {
			return upstream.Answer{NotFound: true}, nil
		})
		if _, err := c.Lookup(t.Context(), "", "a.example"); !errors.Is(err, ErrNoHost) {
			t.Errorf("err = %v, want ErrNoHost", err)
		}
		f.set(refused)
		if _, err := c.Lookup(t.Context(), "", "a.example"); !errors.Is(err, errRefused) {
			t.Errorf("err = %v, want the failure", err)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{handle: silent}
		c := newTest(t, "ipv4_first", f)
		done := make(chan error, 1)
		go func() {
			_, err := c.Lookup(t.Context(), "", "a.example")
			done <- err
		}()
		synctest.Wait()
		begin := time.Now()
		mustClose(t, c)
		if d := time.Since(begin); d != 0 {
			t.Errorf("close took %s", d)
		}
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("waiting lookup: %v, want ErrClosed", err)
		}
		if _, err := c.Lookup(t.Context(), "", "b.example"); !errors.Is(err, ErrClosed) {
			t.Errorf("lookup after close: %v, want ErrClosed", err)
		}
	})
}

func TestFlightsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTest(t, "ipv4_only", &fake{handle: silent})
		var wg sync.WaitGroup
		for i := range maxFlights {
			wg.Go(func() { _, _ = c.Lookup(t.Context(), "", fmt.Sprintf("a%d.example", i)) })
		}
		synctest.Wait()
		if _, err := c.Lookup(t.Context(), "", "one-more.example"); !errors.Is(err, ErrBusy) {
			t.Errorf("err = %v, want ErrBusy", err)
		}
		mustClose(t, c)
		wg.Wait()
	})
}

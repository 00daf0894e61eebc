package muxio

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int32
		i := NewIdle(time.Minute, func() { ended.Add(1) })
		i.Enter()
		i.Enter()
		i.Leave()
		time.Sleep(time.Hour)
		synctest.Wait()
		if ended.Load() != 0 || i.Active() != 1 {
			t.Fatalf("ended %d times with %d streams", ended.Load(), i.Active())
		}
		i.Leave()
		time.Sleep(time.Minute - time.Nanosecond)
		i.Enter() // the time begins anew with the last stream's end
		i.Leave()
		time.Sleep(time.Minute - time.Nanosecond)
		synctest.Wait()
		if ended.Load() != 0 {
			t.Fatal("ended too early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if ended.Load() != 1 || i.Outcome(t.Context(), io.ErrClosedPipe) != nil {
			t.Fatalf("ended %d times, %v", ended.Load(), i.Outcome(t.Context(), io.ErrClosedPipe))
		}
	})
}

func TestIdleOutcome(t *testing.T) {
	broken := errors.New("broken")
	i := NewIdle(time.Hour, func() { t.Error("idle") })
	i.Enter()
	i.Stop()
	i.Leave() // starts nothing any more
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx       context.Context
		err, want error
	}{
		{t.Context(), io.EOF, nil},
		{t.Context(), broken, broken},
		{over, broken, context.Canceled},
		{over, io.EOF, nil},
	} {
		if got := i.Outcome(c.ctx, c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

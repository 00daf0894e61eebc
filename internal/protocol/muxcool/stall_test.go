package muxcool

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/muxio"
)

// flood sends more than a stream's queue holds, in the largest frames.
func flood(c *client, id uint16) {
	for range muxio.StreamQueue/60_000 + 2 {
		c.keep(id, strings.Repeat("x", 60_000))
	}
}

// A reader that stands still holds the others up for muxio.StallTimeout once, then its stream alone ends.
func TestStalledStreamEndsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		c := dial(t, Options{Handler: handler{stream: func(ctx context.Context, conn net.Conn, dst M.Socksaddr) {
			if dst.Port == 2 {
				echo.stream(ctx, conn, dst)
				return
			}
			time.Sleep(time.Minute)
			_, err := io.Copy(io.Discard, conn)
			ended <- err
		}}})
		c.open(1, "a.io:1", "")
		c.open(2, "a.io:2", "")
		start := time.Now()
		flood(c, 1)
		c.wantEnd(1, OptionError)
		c.keep(2, "alive")
		c.want(2, "alive")
		if took := time.Since(start); took != muxio.StallTimeout {
			t.Errorf("took %s, want %s", took, muxio.StallTimeout)
		}
		flood(c, 1) // dropped without a word
		c.keep(2, "still alive")
		c.want(2, "still alive")
		if err := <-ended; err == nil {
			t.Error("the stalled reader sees a good end")
		}
		c.end(2)
		c.silent()
		c.close()
	})
}

// A reader that is only slow gets everything.
func TestSlowReaderGetsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		total := make(chan int, 1)
		c := dial(t, Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			n := 0
			p := make([]byte, 64<<10)
			for {
				time.Sleep(muxio.StallTimeout - time.Second)
				m, err := conn.Read(p)
				n += m
				if err != nil {
					total <- n
					return
				}
			}
		}}})
		c.open(1, "a.io:1", "")
		flood(c, 1)
		c.end(1)
		if got, want := <-total, (muxio.StreamQueue/60_000+2)*60_000; got != want {
			t.Errorf("read %d bytes, want %d", got, want)
		}
		c.close()
	})
}

// Tiny frames cost more than their bytes; the bound is on what they cost.
func TestTinyFramesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := make(chan *stream, 1)
		c := dial(t, Options{Handler: handler{stream: func(ctx context.Context, conn net.Conn, _ M.Socksaddr) {
			streams <- conn.(*stream)
			<-ctx.Done()
		}}})
		c.open(1, "a.io:1", "")
		st := <-streams
		for range 50_000 {
			c.keep(1, "x")
		}
		synctest.Wait()
		buffers, size := st.Queued()
		if buffers > 4 || size > 2*muxio.Coalesce+4*muxio.QueueCost {
			t.Errorf("50 000 bytes cost %d in %d buffers", size, buffers)
		}
		c.close()
	})
}

// All queues of a connection together are bounded as well.
func TestTotalQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := make(chan *stream, 100)
		c := dial(t, Options{Handler: handler{stream: func(ctx context.Context, conn net.Conn, _ M.Socksaddr) {
			streams <- conn.(*stream)
			<-ctx.Done()
		}}})
		const n = muxio.TotalQueue/muxio.StreamQueue + 20
		for id := range uint16(n) {
			c.open(id, "a.io:1", "")
			for range muxio.StreamQueue/60_000 - 1 {
				c.keep(id, strings.Repeat("x", 60_000))
			}
		}
		synctest.Wait()
		if got := (<-streams).s.queued.Load(); got > muxio.TotalQueue+n*(muxio.Coalesce+MaxPayload) {
			t.Errorf("%d bytes are queued, at most about %d", got, muxio.TotalQueue)
		}
		c.close()
	})
}

func TestClosedStreamGivesItsQueueBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := make(chan *stream, 1)
		c := dial(t, Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			streams <- conn.(*stream)
			time.Sleep(time.Second)
		}}})
		c.open(1, "a.io:1", strings.Repeat("x", 60_000))
		st := <-streams
		c.wantEnd(1, 0)
		if got := st.s.queued.Load(); got != 0 {
			t.Errorf("%d bytes are queued after Close, want 0", got)
		}
		c.close()
	})
}

// A client that does not read cannot hold a closed stream's writer for ever.
func TestStuckWriterEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := make(chan net.Conn, 1)
		c := dialQuiet(t, Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			opened <- conn
			if _, err := conn.Write([]byte("nobody reads this")); err == nil {
				t.Error("write succeeds")
			}
		}}})
		c.open(1, "a.io:1", "")
		conn := <-opened
		time.Sleep(time.Hour) // while the stream is open, waiting is fine
		start := time.Now()
		conn.Close()
		<-c.result
		if took := time.Since(start); took != muxio.StuckTimeout {
			t.Errorf("took %s, want %s", took, muxio.StuckTimeout)
		}
	})
}

// A kick ends a connection that waits for a stalled stream at once.
func TestContextEndsAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := dialContext(ctx, t, Options{Handler: hold})
		c.open(1, "a.io:1", "")
		go func() {
			for range muxio.StreamQueue/60_000 + 2 {
				if _, err := io.WriteString(c.conn, encode(Frame{ID: 1, Status: StatusKeep}, strings.Repeat("x", 60_000))); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		start := time.Now()
		cancel()
		<-c.result
		if took := time.Since(start); took != 0 {
			t.Errorf("took %s", took)
		}
	})
}

package meter

import (
	"fmt"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"heki/adapter"
)

const chunk = 16 << 10

// within fails unless bytes in took are speed (bytes per second) give or take share.
func within(t *testing.T, what string, bytes int64, took time.Duration, speed int64, share float64) {
	t.Helper()
	got := float64(bytes) / took.Seconds()
	if off := math.Abs(got/float64(speed) - 1); off > share {
		t.Errorf("%s: %.2f Mbit/s, want %.2f within %.0f %%", what, got*8/1e6, float64(speed)*8/1e6, share*100)
	}
}

// drive calls step until the bubble's clock is at end and returns the bytes it moved.
func drive(end time.Time, step func() int64) (moved int64) {
	for time.Now().Before(end) {
		moved += step()
	}
	return moved
}

func TestPaceOne(t *testing.T) {
	for _, mbit := range []int64{8, 80, 400} {
		t.Run(fmt.Sprintf("%d Mbit", mbit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const run = 10 * time.Second
				speed := mbit * 1e6 / 8
				l := open(t, newTestNode().Meter(adapter.Account{ID: 1, SpeedBytes: speed}), home, nil)
				defer l.Close()
				if !l.Paced() {
					t.Error("a limited account is not paced")
				}
				end := time.Now().Add(run)
				var wg sync.WaitGroup
				var up int64 // both directions at once: each has the whole speed
				wg.Go(func() { up = drive(end, func() int64 { l.Up(chunk); return chunk }) })
				down := drive(end, func() int64 { l.Down(chunk); return chunk })
				wg.Wait()
				within(t, "up", up, run, speed, 0.03)
				within(t, "down", down, run, speed, 0.03)
			})
		})
	}
}

func TestPaceParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const run, conns = time.Minute, 16 // the burst goes to whoever comes first, hence a minute
		speed := int64(50e6 / 8)
		ledger := NewLedger()
		account := adapter.Account{ID: 1, SpeedBytes: speed}
		// Two nodes of one scope, sharing; a third of another scope does not.
		meters := []*Meter{ledger.Node("a", "x").Meter(account), ledger.Node("b", "x").Meter(account)}
		alone := ledger.Node("c", "y").Meter(account)
		end := time.Now().Add(run)
		var wg sync.WaitGroup
		var shared [conns]int64
		for i := range conns {
			l := open(t, meters[i%2], home, nil)
			wg.Go(func() {
				defer l.Close()
				shared[i] = drive(end, func() int64 { l.Down(chunk); return chunk })
			})
		}
		l := open(t, alone, home, nil)
		other := drive(end, func() int64 { l.Down(chunk); return chunk })
		l.Close()
		wg.Wait()
		var all int64
		for i, got := range shared {
			all += got
			within(t, fmt.Sprintf("share %d", i), got, run, speed/conns, 0.1)
		}
		within(t, "16 connections", all, run, speed, 0.1)
		within(t, "the other scope", other, run, speed, 0.03)
	})
}

func TestPaceShortConnections(t *testing.T) {
	for _, workers := range []int{1, 16} {
		t.Run(fmt.Sprintf("%d workers", workers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const run = time.Minute // 16 workers end it with a chunk each in debt
				speed := int64(8e6 / 8)
				m := newTestNode().Meter(adapter.Account{ID: 1, SpeedBytes: speed})
				end := time.Now().Add(run)
				var wg sync.WaitGroup
				var moved atomic.Int64
				for range workers {
					wg.Go(func() {
						moved.Add(drive(end, func() int64 {
							// The client has its chunk and leaves: nobody stays to sleep for it.
							l := open(t, m, home, nil)
							l.Close()
							l.Down(64 << 10)
							return 64 << 10
						}))
					})
				}
				wg.Wait()
				within(t, "short connections", moved.Load(), run, speed, 0.1)
			})
		})
	}
}

func TestPaceNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const run, users = 10 * time.Second, 10
		n := newTestNode()
		speed := int64(100e6 / 8)
		n.SetLimits(Limits{NodeSpeedBytes: speed})
		end := time.Now().Add(run)
		var wg sync.WaitGroup
		var moved [users]int64
		for i := range users { // the first has a limit of its own below its share
			account := adapter.Account{ID: int64(i + 1)}
			if i == 0 {
				account.SpeedBytes = speed / users / 2
			}
			l := open(t, n.Meter(account), home, nil)
			if !l.Paced() {
				t.Error("a user of a limited node is not paced")
			}
			wg.Go(func() {
				defer l.Close()
				moved[i] = drive(end, func() int64 { l.Down(chunk); return chunk })
			})
		}
		wg.Wait()
		var all int64
		for _, got := range moved {
			all += got
		}
		within(t, "node", all, run, speed, 0.03)
		within(t, "the slow user", moved[0], run, speed/users/2, 0.05)
	})
}

// TestRetune changes the speed under a running connection, up, down, off and on.
func TestRetune(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const run = 10 * time.Second
		m := newTestNode().Meter(adapter.Account{ID: 1, SpeedBytes: 1000})
		l := open(t, m, home, nil)
		defer l.Close()
		var moved atomic.Int64
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					l.Down(chunk) // at 1000 B/s one takes 16 s
					moved.Add(chunk)
				}
			}
		})
		synctest.Wait()
		for _, speed := range []int64{1e6, 10e6, 1e6, 50e6} {
			m.SetLimits(adapter.Account{ID: 1, SpeedBytes: speed})
			before := moved.Load()
			time.Sleep(run)
			within(t, "after a change", moved.Load()-before, run, speed, 0.03)
		}
		close(stop)
		wg.Wait()
		m.SetLimits(adapter.Account{ID: 1})
		if l.Paced() {
			t.Error("paced without a limit")
		}
		start := time.Now()
		l.Down(1 << 40)
		if time.Since(start) != 0 {
			t.Error("slept without a limit")
		}
	})
}

func TestFold(t *testing.T) {
	for _, tt := range []struct {
		v4, v6   int
		in, want string
	}{
		{0, 0, "10.1.2.3", "10.1.2.3"},
		{24, 0, "10.1.2.3", "10.1.2.0"},
		{24, 64, "2001:db8:1:2:3::4", "2001:db8:1:2::"},
		{99, 999, "10.1.2.3", "10.1.2.3"},
		{16, 64, "::ffff:10.1.2.3", "10.1.0.0"},
		{0, 0, "fe80::1%eth0", "fe80::1"},
	} {
		l := Limits{CIDRv4: tt.v4, CIDRv6: tt.v6}
		if got := l.fold(netip.MustParseAddr(tt.in)); got.String() != tt.want {
			t.Errorf("/%d /%d of %s = %s, want %s", tt.v4, tt.v6, tt.in, got, tt.want)
		}
	}
}

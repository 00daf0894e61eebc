package meter

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"heki/adapter"
)

func TestLimits(t *testing.T) {
	n := newTestNode()
	n.SetLimits(Limits{IPExpiry: time.Minute, CIDRv4: 24, CIDRv6: 64})
	addr := netip.MustParseAddr
	for _, tt := range []struct {
		name    string
		account adapter.Account
		open    []netip.Addr
		next    netip.Addr
		want    string // of the error; "" is admitted
	}{
		{"unlimited", adapter.Account{ID: 1}, []netip.Addr{addr("10.0.0.1"), addr("10.0.1.1")}, addr("10.0.2.1"), ""},
		{"conns", adapter.Account{ID: 2, ConnLimit: 2}, []netip.Addr{home, home}, home, "user 2: 2 of 2 connections in use"},
		{"ips", adapter.Account{ID: 7, IPLimit: 2}, []netip.Addr{addr("10.0.0.1"), addr("10.0.1.1")}, addr("10.0.2.1"), "user 7: 2 of 2 IPs in use"},
		{"same prefix v4", adapter.Account{ID: 3, IPLimit: 1}, []netip.Addr{addr("10.0.0.1")}, addr("10.0.0.99"), ""},
		{"same prefix v6", adapter.Account{ID: 4, IPLimit: 1}, []netip.Addr{addr("2001:db8::1")}, addr("2001:db8::2:3"), ""},
		{"other prefix v6", adapter.Account{ID: 5, IPLimit: 1}, []netip.Addr{addr("2001:db8::1")}, addr("2001:db8:0:1::1"), "1 of 1 IPs"},
		{"mapped v4", adapter.Account{ID: 6, IPLimit: 1}, []netip.Addr{addr("10.0.0.1")}, addr("::ffff:10.0.0.1"), ""},
		{"no source", adapter.Account{ID: 8, IPLimit: 1}, []netip.Addr{{}}, netip.Addr{}, ""},
		{"by name", adapter.Account{Name: "bob", ConnLimit: 1}, []netip.Addr{home}, home, `user "bob": 1 of 1 connections in use`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := n.Meter(tt.account)
			for _, a := range tt.open {
				defer open(t, m, a, nil).Close()
			}
			l, err := m.Open(context.Background(), tt.next, nil)
			if err == nil {
				l.Close()
			}
			if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, adapter.ErrLimited) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Open = %v, want %q", err, tt.want)
			}
		})
	}
}

// TestLimitsExact lets many goroutines race for the seats: exactly the limit gets one, across nodes.
func TestLimitsExact(t *testing.T) {
	const limit, racers = 5, 64
	ledger := NewLedger()
	for _, tt := range []struct {
		name    string
		account adapter.Account
	}{
		{"conns", adapter.Account{ID: 1, ConnLimit: limit}},
		{"ips", adapter.Account{ID: 2, IPLimit: limit}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			meters := [2]*Meter{ledger.Node("a", "s").Meter(tt.account), ledger.Node("b", "s").Meter(tt.account)}
			for range 50 {
				var wg sync.WaitGroup
				var admitted atomic.Int32
				leases := make([]adapter.Lease, racers)
				start := make(chan struct{})
				for i := range racers {
					wg.Go(func() {
						<-start
						source := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
						if l, err := meters[i%2].Open(context.Background(), source, nil); err == nil {
							admitted.Add(1)
							leases[i] = l
						}
					})
				}
				close(start)
				wg.Wait()
				if got := admitted.Load(); got != limit {
					t.Fatalf("admitted %d, want %d", got, limit)
				}
				for _, l := range leases {
					if l != nil {
						l.Close()
						l.Close() // twice is once
					}
				}
			}
		})
	}
}

func TestIPExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNode()
		n.SetLimits(Limits{IPExpiry: 30 * time.Second})
		m := n.Meter(adapter.Account{ID: 1, IPLimit: 1})
		other := netip.MustParseAddr("192.0.2.2")
		open(t, m, home, nil).Close()
		time.Sleep(30*time.Second - 1)
		if _, err := m.Open(context.Background(), other, nil); !errors.Is(err, adapter.ErrLimited) {
			t.Errorf("before the expiry: %v, want ErrLimited", err)
		}
		if got := len(n.Online()); got != 1 {
			t.Errorf("online before the expiry: %d users, want 1", got)
		}
		time.Sleep(1)
		if got := len(n.Online()); got != 0 {
			t.Errorf("online after the expiry: %d users, want 0", got)
		}
		l := open(t, m, other, nil)
		time.Sleep(time.Hour) // an open connection does not expire
		if _, err := m.Open(context.Background(), home, nil); !errors.Is(err, adapter.ErrLimited) {
			t.Errorf("while open: %v, want ErrLimited", err)
		}
		l.Close()
	})
}

func TestAddressesBounded(t *testing.T) {
	n := newTestNode()
	n.SetLimits(Limits{IPExpiry: time.Hour})
	m := n.Meter(adapter.Account{ID: 1})
	stays := open(t, m, home, nil)
	for i := range 3 * maxAddrs {
		open(t, m, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), nil).Close()
	}
	online := n.Online()
	if len(online) != 1 || len(online[0].IPs) > maxAddrs {
		t.Fatalf("remembers %d addresses, want at most %d", len(online[0].IPs), maxAddrs)
	}
	if len(m.person.addrs) > maxAddrs {
		t.Errorf("limits by %d addresses, want at most %d", len(m.person.addrs), maxAddrs)
	}
	if m.addrs[home].open != 1 {
		t.Error("forgot an address with an open connection")
	}
	stays.Close()
}

func TestKick(t *testing.T) {
	n := newTestNode()
	m := n.Meter(adapter.Account{ID: 1, ConnLimit: 2})
	var killed [2]int
	first := open(t, m, home, func() { killed[0]++ })
	second := open(t, m, home, func() { killed[1]++ })
	first.Close()
	m.Kick()
	m.Kick()
	if killed != [2]int{0, 1} {
		t.Errorf("kill calls = %v, want none after Close and one after Kick", killed)
	}
	for range 2 { // the seats are free before the killed connection is closed
		defer open(t, m, home, nil).Close()
	}
	second.Up(5) // its goroutine may not know yet: the bytes still count
	second.Close()
	if got := sum(n.Take())[1]; got != [2]int64{5, 0} {
		t.Errorf("taken = %v, want 5 up", got)
	}
	n.Retire(m)
	_, err := m.Open(context.Background(), home, nil)
	if !errors.Is(err, adapter.ErrLimited) || !strings.Contains(err.Error(), "user 1: removed") {
		t.Errorf("Open after Retire = %v, want ErrLimited", err)
	}
	(*Meter)(nil).Kick()
	n.Retire(nil)
}

// TestKickRace opens against retire and kick: whatever was admitted must be killed, once.
func TestKickRace(t *testing.T) {
	n := newTestNode()
	for round := range 300 {
		m := n.Meter(adapter.Account{ID: int64(round + 1)})
		var admitted, killed atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					dead := make(chan struct{})
					l, err := m.Open(context.Background(), home, func() { killed.Add(1); close(dead) })
					if err != nil {
						return
					}
					admitted.Add(1)
					l.Down(1)
					<-dead // stays open until killed
					l.Close()
				}
			})
		}
		wg.Go(func() {
			n.Retire(m)
			m.Kick()
		})
		wg.Wait()
		if admitted.Load() != killed.Load() {
			t.Fatalf("round %d: %d admitted, %d killed", round, admitted.Load(), killed.Load())
		}
	}
	n.Take()
	n.Forget()
	if s := n.Stats(); s.Conns != 0 || s.Users != 0 || len(n.meters) != 0 || len(n.scope.people) != 0 {
		t.Errorf("left behind: %+v, %d meters, %d people", s, len(n.meters), len(n.scope.people))
	}
}

// TestWakes ends sleeps of an hour in every way there is; synctest's clock shows how long it took.
func TestWakes(t *testing.T) {
	slow := adapter.Account{ID: 1, SpeedBytes: 1}
	for name, wake := range map[string]func(n *Node, m *Meter, l adapter.Lease){
		"close":      func(_ *Node, _ *Meter, l adapter.Lease) { l.Close() },
		"kick":       func(_ *Node, m *Meter, _ adapter.Lease) { m.Kick() },
		"node close": func(n *Node, _ *Meter, _ adapter.Lease) { n.Close() },
		"unlimited":  func(_ *Node, m *Meter, _ adapter.Lease) { m.SetLimits(adapter.Account{ID: 1}) },
		"node speed": func(n *Node, _ *Meter, _ adapter.Lease) { n.SetLimits(Limits{NodeSpeedBytes: 1 << 30}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newTestNode()
				m := n.Meter(slow)
				l := open(t, m, home, nil)
				var wg sync.WaitGroup
				wg.Go(func() { l.Up(3600) })
				wg.Go(func() { l.Down(3600) })
				synctest.Wait()
				start := time.Now()
				wake(n, m, l)
				wg.Wait()
				if took := time.Since(start); took != 0 {
					t.Errorf("woke after %v, want at once", took)
				}
				l.Close()
			})
		})
	}
}

func TestOpenWaitsForDebt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNode()
		m := n.Meter(adapter.Account{ID: 1, SpeedBytes: 1000})
		l := open(t, m, home, nil)
		l.Close()
		l.Down(1100) // 1.1 s of traffic, 0.1 s of it is the burst
		start := time.Now()
		open(t, m, home, nil).Close()
		if took := time.Since(start); took != time.Second {
			t.Errorf("waited %v, want 1s", took)
		}
		l.Up(1e6)
		start = time.Now()
		open(t, m, home, nil).Close()
		if took := time.Since(start); took != maxDebtWait {
			t.Errorf("waited %v, want at most %v", took, maxDebtWait)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if _, err := m.Open(ctx, home, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Open = %v, want the context's error", err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := m.Open(context.Background(), home, nil); !errors.Is(err, adapter.ErrLimited) {
				t.Errorf("Open = %v, want ErrLimited", err)
			}
		})
		synctest.Wait()
		start = time.Now()
		n.Retire(m)
		wg.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("refused after %v, want at once", took)
		}
	})
}

func TestChunkAllocs(t *testing.T) {
	n := newTestNode()
	n.SetLimits(Limits{NodeSpeedBytes: 1 << 40})
	for _, speed := range []int64{0, 1 << 40, 32 << 20} { // the last one naps
		t.Run(fmt.Sprint(speed), func(t *testing.T) {
			l := open(t, n.Meter(adapter.Account{ID: 1, SpeedBytes: speed}), home, nil)
			defer l.Close()
			l.Up(4 << 20) // beyond the burst, makes the timer
			l.Down(4 << 20)
			if got := testing.AllocsPerRun(100, func() { l.Up(64 << 10); l.Down(64 << 10) }); got != 0 {
				t.Errorf("%v allocations per chunk, want 0", got)
			}
		})
	}
}

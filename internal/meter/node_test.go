package meter

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"heki/adapter"
)

func TestMeterIdentity(t *testing.T) {
	ledger := NewLedger()
	n := ledger.Node("a", "s")
	if ledger.Node("a", "s") != n || n.Tag() != "a" {
		t.Error("a tag has two nodes")
	}
	m := n.Meter(adapter.Account{ID: 1, Name: "old"})
	if n.Meter(adapter.Account{ID: 1, Name: "new"}) != m {
		t.Error("a renamed user has a new meter")
	}
	if n.Meter(adapter.Account{Name: "x"}) == n.Meter(adapter.Account{Name: "y"}) {
		t.Error("two static users share a meter")
	}
	if other := ledger.Node("b", "s").Meter(adapter.Account{ID: 1}); other == m || other.person != m.person {
		t.Error("a user must have a meter per node and one person per scope")
	}
	if ledger.Node("c", "other").Meter(adapter.Account{ID: 1}).person == m.person {
		t.Error("two scopes share a person")
	}
	n.Retire(m)
	if n.Meter(adapter.Account{ID: 1}) == m {
		t.Error("a retired meter came back")
	}
}

// TestElsewhere: what the panel knows of other machines' nodes counts for new addresses alone.
func TestElsewhere(t *testing.T) {
	n := newTestNode()
	m := n.Meter(adapter.Account{ID: 1, IPLimit: 3})
	first, second := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	open(t, m, first, nil)
	n.SetElsewhere(map[int64]int{1: 3}) // first is one of them
	open(t, m, first, nil)
	if _, err := m.Open(t.Context(), second, nil); err == nil || !strings.Contains(err.Error(), "3 of 3 IPs in use") {
		t.Errorf("err = %v", err)
	}
	n.SetElsewhere(nil)
	open(t, m, second, nil)
}

func TestRenew(t *testing.T) {
	n := newTestNode()
	a := adapter.Account{ID: 1, Name: "u"}
	old, first := n.Renew(a)
	if old != nil || first == nil {
		t.Fatalf("Renew of an unknown user = %p, %p", old, first)
	}
	lease := open(t, first, home, nil)
	old, fresh := n.Renew(a)
	if old != first || fresh == first {
		t.Fatal("Renew must return the meter in use and a new one")
	}
	lease.Up(1)
	other := open(t, fresh, home, nil)
	other.Up(10)
	if got := sum(n.Take())[1]; got[0] != 11 {
		t.Errorf("both meters took %d, want 11", got[0])
	}

	n.Retire(fresh) // the swap failed
	if n.Meter(a) != first {
		t.Error("after a failed swap the old meter must be in use")
	}
	_, fresh = n.Renew(a)
	n.Retire(first)
	if n.Meter(a) != fresh {
		t.Error("after the swap the fresh meter must be in use")
	}
	lease.Down(100)
	lease.Close()
	other.Close()
	n.Forget() // first still owes 100 bytes
	if got := sum(n.Take())[1]; got[1] != 100 {
		t.Errorf("the retired meter owed %d, want 100", got[1])
	}
	n.Forget()
	if n.meters[userKey{id: 1}] != fresh || fresh.older != nil || fresh.person.refs != 1 {
		t.Error("drained retired meters were not dropped")
	}
}

func TestTakeAboveAndRestore(t *testing.T) {
	n := newTestNode()
	for id := range int64(4) {
		l := open(t, n.Meter(adapter.Account{ID: id + 1, Name: "u"}), home, nil)
		l.Up(id * 10)
		l.Down(id * 10)
		l.Up(-5)
		l.Close()
	}
	b := n.TakeAbove(40)
	want := map[int64][2]int64{3: {20, 20}, 4: {30, 30}}
	if got := sum(b); !reflect.DeepEqual(got, want) {
		t.Errorf("TakeAbove = %v, want %v", got, want)
	}
	if b.Node != "node-1" || b.ID == "" || b.ID == n.Take().ID || b.Users[0].Name != "u" || b.Bytes() != 100 {
		t.Errorf("batch = %+v", b)
	}
	n.Retire(n.Meter(adapter.Account{ID: 4}))
	n.Forget() // user 4 is gone, its bytes come back all the same
	before := n.Stats()
	n.Restore(b)
	if after := n.Stats(); after != before {
		t.Errorf("Restore changed the totals from %+v to %+v", before, after)
	}
	if got := sum(n.Take()); !reflect.DeepEqual(got, want) {
		t.Errorf("after Restore = %v, want %v", got, want)
	}
	if s := n.Stats(); s != (Stats{Users: 3, Opened: 4, Up: 60, Down: 60}) {
		t.Errorf("stats = %+v", s)
	}
}

func TestOnline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ledger := NewLedger()
		n := ledger.Node("a", "s")
		n.SetLimits(Limits{IPExpiry: time.Minute, CIDRv6: 64})
		a := adapter.Account{ID: 1, Name: "u"}
		m := n.Meter(a)
		n.Meter(adapter.Account{ID: 2}) // never connects
		one, two := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
		l := open(t, m, one, nil)
		defer open(t, m, two, nil).Close()
		elsewhere := open(t, ledger.Node("b", "s").Meter(a), home, nil)
		defer elsewhere.Close()
		_, fresh := n.Renew(a)
		open(t, fresh, one, nil).Close()
		open(t, fresh, home, nil).Close()
		l.Down(7)
		n.Take()
		want := []Online{{ID: 1, Name: "u", IPs: []netip.Addr{home, netip.MustParseAddr("2001:db8::")}, Conns: 2, Bytes: 7}}
		got := n.Online()
		if len(got) == 1 {
			slices.SortFunc(got[0].IPs, func(a, b netip.Addr) int { return cmp.Compare(a.BitLen(), b.BitLen()) })
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("online = %+v, want %+v", got, want)
		}
		l.Close()
		time.Sleep(time.Minute)
		if got := n.Online(); len(got) != 1 || got[0].Conns != 1 || len(got[0].IPs) != 1 || got[0].Bytes != 0 {
			t.Errorf("after the expiry = %+v", got)
		}
		if s := n.Stats(); s != (Stats{Users: 1 + 1, Online: 1, Conns: 1, Opened: 4, Down: 7}) {
			t.Errorf("stats = %+v", s)
		}
		n.Close()
		if got := n.Online(); len(got) != 0 {
			t.Errorf("after Close = %+v", got)
		}
	})
}

func TestNodeClose(t *testing.T) {
	ledger := NewLedger()
	n := ledger.Node("a", "s")
	m := n.Meter(adapter.Account{ID: 1})
	killed := false
	l := open(t, m, home, func() { killed = true })
	l.Up(3)
	n.Close()
	l.Up(4)
	l.Close()
	if !killed {
		t.Error("Close did not kick")
	}
	if !n.Meter(adapter.Account{ID: 1}).retired.Load() {
		t.Error("a closed node gave out a meter that opens")
	}
	if ledger.Node("a", "t") != n {
		t.Error("the tag has two nodes")
	}
	open(t, n.Meter(adapter.Account{ID: 1}), home, nil).Close()
	if got := sum(n.Take())[1]; got[0] != 7 {
		t.Errorf("taken after Close = %v, want 7 up", got)
	}
	n.Forget()
	if len(n.meters) != 1 || len(ledger.scopes["s"].people) != 0 {
		t.Error("the former users were not forgotten")
	}
}

// TestTakeConcurrent takes, restores and renews under load: no byte is lost or invented.
func TestTakeConcurrent(t *testing.T) {
	n := newTestNode()
	const users, perUser = 4, 5000
	var wg, load sync.WaitGroup
	for id := range int64(users) {
		load.Go(func() {
			a := adapter.Account{ID: id + 1}
			for range perUser / 100 {
				l := open(t, n.Meter(a), home, nil)
				for range 100 {
					l.Up(3)
					l.Down(5)
				}
				l.Close()
				old, _ := n.Renew(a)
				n.Retire(old)
			}
		})
	}
	done := make(chan struct{})
	var got table
	wg.Go(func() {
		for i := 0; ; i++ {
			b := n.TakeAbove(int64(i%3) * 100)
			if i%2 == 0 {
				n.Restore(b)
			} else {
				got.add(b.Users)
			}
			n.Forget()
			n.Stats()
			n.Online()
			select {
			case <-done:
				return
			default:
			}
		}
	})
	load.Wait()
	close(done)
	wg.Wait()
	got.add(n.Take().Users)
	for _, u := range got.users {
		if u.Up != 3*perUser || u.Down != 5*perUser {
			t.Errorf("user %d: %d up, %d down, want %d and %d", u.ID, u.Up, u.Down, 3*perUser, 5*perUser)
		}
	}
	if len(got.users) != users || n.conns.Load() != 0 {
		t.Errorf("%d users, %d connections left", len(got.users), n.conns.Load())
	}
}

// TestTakeIsExact takes as fast as it can beside a busy lease: a byte between load and reset would be lost.
func TestTakeIsExact(t *testing.T) {
	n := newTestNode()
	l := open(t, n.Meter(adapter.Account{ID: 1}), home, nil)
	var stop atomic.Bool
	moved := make(chan int64)
	go func() {
		chunks := int64(0)
		for ; !stop.Load(); chunks++ {
			l.Up(1)
		}
		moved <- chunks
	}()
	var up int64
	take := func() {
		for _, u := range n.Take().Users {
			up += u.Up
		}
	}
	for range 50_000 {
		take()
	}
	stop.Store(true)
	want := <-moved
	l.Close()
	take()
	if up != want {
		t.Errorf("took %d bytes, want %d", up, want)
	}
}

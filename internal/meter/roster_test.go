package meter

import (
	"context"
	"crypto/rand"
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"heki/adapter"
)

func TestRoster(t *testing.T) {
	books := NewLedger().Node("n", "s")
	r := NewRoster(books)
	apply := func(accounts ...adapter.Account) *Plan {
		p := r.Plan(accounts)
		p.Commit()
		return p
	}
	alice := adapter.Account{ID: 1, Name: "alice", Password: "a"}
	bob := adapter.Account{Name: "bob", Password: "b"}
	carol := adapter.Account{Name: "carol", Password: "c"}
	first := apply(alice, bob, carol)
	if first.Added != 3 || first.Empty() {
		t.Fatalf("first: %s", first)
	}
	killed := make(map[string]bool)
	for _, u := range first.Users() {
		if _, err := u.Meter.Open(context.Background(), netip.Addr{}, func() { killed[u.Name] = true }); err != nil {
			t.Fatal(err)
		}
	}
	if p := r.Plan([]adapter.Account{alice, bob, carol}); !p.Empty() || p.Users()[1] != first.Users()[1] {
		t.Errorf("an unchanged set: %s", p)
	}
	bob.ConnLimit = 5
	alice.Password = "new"
	p := apply(alice, bob)
	if p.Added != 0 || p.Changed != 2 || p.Removed != 1 {
		t.Errorf("second: %s", p)
	}
	if p.Users()[1].Meter != first.Users()[1].Meter || p.Users()[0].Meter == first.Users()[0].Meter {
		t.Error("new limits must keep the meter, a new credential must not")
	}
	if !killed["alice"] || !killed["carol"] || killed["bob"] {
		t.Errorf("killed %v, want alice and carol", killed)
	}
	if _, err := first.Users()[0].Meter.Open(context.Background(), netip.Addr{}, func() {}); err == nil {
		t.Error("an old credential can still open")
	}
}

func TestRosterAbort(t *testing.T) {
	r := NewRoster(NewLedger().Node("n", "s"))
	old := adapter.Account{ID: 1, Password: "a"}
	first := r.Plan([]adapter.Account{old})
	first.Commit()
	r.Plan([]adapter.Account{{ID: 1, Password: "b"}, {ID: 2, Password: "c"}}).Abort()
	if _, err := first.Users()[0].Meter.Open(context.Background(), netip.Addr{}, func() {}); err != nil {
		t.Errorf("after an aborted change: %v", err)
	}
	if p := r.Plan([]adapter.Account{old}); !p.Empty() {
		t.Errorf("after an aborted change: %s", p)
	}
}

// Inbounds reuse what they derived from a *User that did not change.
func TestRosterKeepsIdentity(t *testing.T) {
	books := NewLedger().Node("n", "s")
	r := NewRoster(books)
	accounts := []adapter.Account{{ID: 1, Password: "a"}, {ID: 2, Password: "b"}}
	first := r.Plan(accounts)
	first.Commit()
	again := r.Plan(slices.Clone(accounts))
	if !again.Empty() || again.Users()[0] != first.Users()[0] || again.Users()[1] != first.Users()[1] {
		t.Errorf("again = %s", again)
	}
	swapped := r.Plan([]adapter.Account{{ID: 1, Password: "b"}, {ID: 2, Password: "a"}})
	if swapped.Changed != 2 || len(swapped.gone) != 2 || swapped.Users()[0].Meter == first.Users()[0].Meter {
		t.Errorf("two users who exchange credentials: %s", swapped)
	}
	swapped.Abort()
	if m := books.Meter(accounts[0]); m != first.Users()[0].Meter {
		t.Error("abort did not give the meter in use back")
	}
}

func TestLower(t *testing.T) {
	for _, tt := range [][3]int{{0, 0, 0}, {5, 0, 5}, {0, 5, 5}, {3, 5, 3}, {5, 3, 3}} {
		if got := Lower(tt[0], tt[1]); got != tt[2] {
			t.Errorf("Lower(%d, %d) = %d, want %d", tt[0], tt[1], got, tt[2])
		}
	}
}

// BenchmarkRoster compares 50 000 users of whom 100 changed, and publishes them.
func BenchmarkRoster(b *testing.B) {
	const users = 50_000
	accounts := make([]adapter.Account, users)
	for i := range accounts {
		accounts[i] = adapter.Account{ID: int64(i + 1), Name: strconv.Itoa(i + 1), Password: rand.Text()}
	}
	r := NewRoster(NewLedger().Node("n", "s"))
	r.Plan(accounts).Commit()
	b.Run("100 of 50000 changed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for i := range 100 {
				accounts[i*7].SpeedBytes++
			}
			p := r.Plan(accounts)
			p.Commit()
			if p.Changed != 100 || p.Added != 0 || p.Removed != 0 {
				b.Fatal(p)
			}
		}
	})
	b.Run("all new", func(b *testing.B) {
		for b.Loop() {
			NewRoster(NewLedger().Node("n", "s")).Plan(accounts).Commit()
		}
	})
}

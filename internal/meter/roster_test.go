package meter

import (
	"context"
	"net/netip"
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

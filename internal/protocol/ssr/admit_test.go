package ssr

import (
	"errors"
	"testing"
	"time"
)

func TestClients(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	l := Limits{Clients: 2, Silence: time.Minute}
	var c Clients
	visit := func(id, conn uint32, want error) *Visit {
		t.Helper()
		v, err := c.Admit(id, conn, now, l)
		if !errors.Is(err, want) {
			t.Errorf("client %d, connection %d: %v, want %v", id, conn, err, want)
		}
		return v
	}
	a := visit(1, 100, nil)
	visit(1, 100, ErrReplay)
	visit(1, 35, ErrReplay) // below the window
	visit(1, 36, nil)
	visit(1, 100+jumpMost, ErrReplay)
	visit(1, 101, nil).Leave()
	b := visit(2, 5, nil)
	visit(3, 1, ErrDevices)
	a.Leave()
	a.Leave() // once
	visit(3, 1, ErrDevices)
	b.Leave()
	visit(3, 1, nil).Leave()
	visit(2, 5, ErrReplay) // its connection is closed and not forgotten
	visit(2, 1<<30, nil)   // it may come back much later
	visit(2, 6, ErrReplay)
	now = now.Add(2 * time.Minute)
	l.Linger = true
	visit(4, 1, nil).Leave()
	visit(5, 1, nil).Leave()
	visit(6, 1, ErrDevices) // those without connections count
	if n := c.Active(now, l); n != 2 {
		t.Errorf("%d active, want 2", n)
	}
	now = now.Add(2 * time.Minute)
	visit(6, 0xffffffff, nil)
	visit(6, 0, nil) // numbers wrap
	visit(6, 0xffffffff, ErrReplay)
}

// TestClientsBound: neither clients nor their windows grow without end.
func TestClientsBound(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	var c Clients
	for i := range uint32(10_000) {
		v, err := c.Admit(i, i, now, Limits{Clients: 2, Silence: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		v.Leave()
	}
	if len(c.all) > 2+keepClients {
		t.Errorf("%d clients are remembered", len(c.all))
	}
	for i := range uint32(3 * slots) {
		if v, err := c.Admit(1<<20, i, now, Limits{Silence: time.Minute}); err != nil {
			t.Fatal(err)
		} else if _, err := c.Admit(1<<20, i, now, Limits{Silence: time.Minute}); !errors.Is(err, ErrReplay) {
			t.Fatalf("number %d twice: %v", i, err)
		} else {
			v.Touch(now)
			v.Leave()
		}
	}
}

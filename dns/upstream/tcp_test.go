package upstream

import (
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// TestTCPReuse: connections serve many queries, survive being closed by the server, and end when idle.
func TestTCPReuse(t *testing.T) {
	answer := zone(t, "a.example. 60 IN A 192.0.2.1")
	var conns atomic.Int32
	var hangUp atomic.Bool
	seen := make(map[string]bool) // only the server's goroutine for the one connection at a time
	at := testServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if !seen[w.RemoteAddr().String()] {
			seen[w.RemoteAddr().String()] = true
			conns.Add(1)
		}
		last := hangUp.Load() // before the client, which has the answer, changes it
		answer(w, q)
		if last {
			_ = w.Close()
		}
	})
	s := newTCP(&endpoint{addr: at.Addr(), port: at.Port()})
	ask := func() {
		t.Helper()
		if _, err := s.Lookup(t.Context(), "a.example", false); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		ask()
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections for 5 queries, want 1", n)
	}
	hangUp.Store(true)
	ask() // this one is closed behind its answer
	hangUp.Store(false)
	ask()
	if n := conns.Load(); n != 2 {
		t.Errorf("%d connections after the server closed one, want 2", n)
	}
	s.mu.Lock()
	c := s.free[0]
	s.mu.Unlock()
	s.drop(c) // what the idle timer does
	if len(s.free) != 0 {
		t.Error("an idle connection stayed")
	}
	ask()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	ask() // after Close nothing is kept
	if len(s.free) != 0 {
		t.Error("a connection was kept after Close")
	}
}

package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

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

// TestTCPLeavesSilentAddress: of a server that is named by host, another address is asked next when one lets
// connect and does not answer.
func TestTCPLeavesSilentAddress(t *testing.T) {
	at := testServer(t, zone(t, "a.example. 60 IN A 192.0.2.1"))
	silent := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), at.Port())
	l, err := net.Listen("tcp4", silent.String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newTCP(&endpoint{host: "dns.example", port: at.Port(), find: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{silent.Addr(), at.Addr()}, nil
	}})
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Lookup(ctx, "a.example", false); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("err = %v of a server that is silent", err)
	}
	if _, err := s.Lookup(t.Context(), "a.example", false); err != nil {
		t.Errorf("the next address was not asked: %v", err)
	}
}

package meter

import (
	"context"
	"net/netip"
	"testing"

	"go.uber.org/goleak"

	"heki/adapter"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

var home = netip.MustParseAddr("192.0.2.1")

// open opens a lease that must be admitted.
func open(t testing.TB, m *Meter, source netip.Addr, kill func()) adapter.Lease {
	t.Helper()
	l, err := m.Open(context.Background(), source, kill)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return l
}

// sum adds up a batch by user id.
func sum(b Batch) map[int64][2]int64 {
	out := make(map[int64][2]int64)
	for _, u := range b.Users {
		s := out[u.ID]
		out[u.ID] = [2]int64{s[0] + u.Up, s[1] + u.Down}
	}
	return out
}

// newTestNode returns a node of a fresh ledger.
func newTestNode() *Node {
	return NewLedger().Node("node-1", "main")
}

package panel

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"heki/adapter"
	"heki/internal/meter"
	"heki/option"
)

// silent is a client that is never asked.
type silent struct{ Client }

func (silent) ReportTraffic(context.Context, []meter.Traffic) error { return nil }

// TestRemovedActorLeavesTheJournal: the tick that is late comes when the node is back, in another actor, whose
// journal has the same file.
func TestRemovedActorLeavesTheJournal(t *testing.T) {
	kind := Kind{New: func(Env, *option.Panel, *option.PanelNode) (Client, error) { return silent{}, nil }}
	panels := []option.Panel{{Name: "main", Type: "x", Nodes: []option.PanelNode{{ID: 1}}}}
	dir, ledger := t.TempDir(), meter.NewLedger()
	s, err := New(Config{Options: panels, StateDir: dir, Kinds: map[string]Kind{"x": kind}, Ledger: ledger})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	tag := Tag("main", 1)
	old := s.actor(tag)
	if err := s.Reload(nil, option.Limits{}, option.Traffic{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(panels, option.Limits{}, option.Traffic{}); err != nil {
		t.Fatal(err)
	}
	m := ledger.Node(tag, "panel/main").Meter(adapter.Account{ID: 7})
	l, err := m.Open(t.Context(), netip.MustParseAddr("192.0.2.1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.Up(100)
	old.checkpoint()
	if _, err := os.Stat(filepath.Join(meter.Dir(dir, tag), "journal")); err == nil {
		t.Error("the former actor wrote the journal of the new one")
	}
	now := s.actor(tag)
	now.checkpoint()
	if _, bytes := now.outbox.Backlog(); bytes != 100 {
		t.Errorf("the new actor has %d bytes, want 100", bytes)
	}
}

package panel_test

import (
	"context"
	"testing"
	"time"

	"heki/internal/meter"
	"heki/option"
	"heki/panel"
	"heki/panel/paneltest"
)

// TestOverSockets runs 64 nodes against a panel that really listens, goes down and comes back.
func TestOverSockets(t *testing.T) {
	const nodes = 64
	b := newBench(t, nodes)
	server, err := paneltest.Start(b.panel)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for id := 1; id <= 100; id++ {
		b.panel.SetUser(paneltest.User{ID: id})
	}
	o := &b.cfg.Options[0]
	o.URL = server.URL
	o.SyncInterval, o.ReportInterval = option.Duration(200*time.Millisecond), option.Duration(200*time.Millisecond)
	b.cfg.HTTP = nil
	b.cfg.Ledger = meter.NewLedger()
	began := time.Now()
	if b.s, err = panel.New(b.cfg); err != nil {
		t.Fatal(err)
	}
	b.s.Start()
	tags := make([]string, nodes)
	for i := range tags {
		tags[i] = panel.Tag("main", int64(i+1))
	}
	until(t, "all nodes serve", func() bool {
		for _, tag := range tags {
			if len(b.host.users(tag)) != 100 {
				return false
			}
		}
		return true
	})
	t.Logf("%d nodes serve after %s", nodes, time.Since(began).Round(time.Millisecond))
	for _, tag := range tags {
		b.move(tag, 1, 10, 20)
	}
	server.Down()
	for _, tag := range tags {
		b.move(tag, 2, 1, 2)
	}
	if err := server.Up(); err != nil {
		t.Fatal(err)
	}
	b.s.SyncNow("")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	until(t, "everything is billed, kept or held", func() bool {
		total, sum := b.panel.Total(), int64(0)
		for _, st := range b.s.Status() {
			sum += st.HeldBytes
		}
		return total.Up+total.Down+sum >= nodes*33
	})
	if err := b.s.Close(ctx); err != nil {
		t.Error(err)
	}
	if total := b.panel.Total(); total.Up > nodes*11 || total.Down > nodes*22 {
		t.Errorf("billed %+v, more than was moved", total)
	}
}

// until waits for cond, at most ten seconds.
// patience is longer than a node waits after a report that fell into the outage.
const patience = 40 * time.Second

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if cond() {
			return
		}
	}
	t.Fatalf("not in %s: %s", patience, what)
}

// TestPush: what changes on a panel that pushes is in force at once, not at the next poll.
func TestPush(t *testing.T) {
	b := newBench(t, 1)
	server, err := paneltest.Start(b.panel)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	b.panel.EnablePush(server.URL)
	b.panel.SetUser(paneltest.User{ID: 1})
	o := &b.cfg.Options[0]
	o.URL, o.APIVersion, o.SyncInterval = server.URL, 2, option.Duration(time.Hour)
	b.cfg.HTTP = nil
	b.cfg.Ledger = meter.NewLedger()
	if b.s, err = panel.New(b.cfg); err != nil {
		t.Fatal(err)
	}
	b.s.Start()
	defer b.stop()
	until(t, "the node listens", func() bool { return b.panel.Watchers() == 1 && len(b.host.users(tag1)) == 1 })
	b.panel.SetUser(paneltest.User{ID: 2})
	b.panel.Tell("sync.user.delta")
	until(t, "the new user is served", func() bool { return len(b.host.users(tag1)) == 2 })
}

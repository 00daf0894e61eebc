package panel_test

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"heki/option"
	"heki/panel/machine"
	"heki/panel/paneltest"
)

// newMergedBench has one node of an XBoard that is asked by version 2.
func newMergedBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t, 1)
	b.cfg.Options[0].APIVersion = 2
	b.panel.SetUser(paneltest.User{ID: 1})
	b.panel.SetUser(paneltest.User{ID: 2})
	return b
}

// TestMergedReport: one call has traffic, addresses, connections, the machine's state and the node's figures.
func TestMergedReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newMergedBench(t)
		b.cfg.Machine = machine.New(t.TempDir())
		b.start()
		defer b.stop()
		l, err := b.host.users(tag1)[2].Meter.Open(t.Context(), netip.MustParseAddr("192.0.2.9"), nil)
		if err != nil {
			t.Fatal(err)
		}
		b.move(tag1, 1, 6000, 60_000)
		b.pass(67 * time.Second)
		if got := b.panel.Traffic(1, 1); got != (paneltest.Traffic{Up: 6000, Down: 60_000}) {
			t.Errorf("traffic = %+v", got)
		}
		if got := b.panel.Alive(1, 2); len(got) != 1 || got[0] != "192.0.2.9" || b.panel.Conns(1, 2) != 1 {
			t.Errorf("alive = %q, %d connections", got, b.panel.Conns(1, 2))
		}
		calls := map[paneltest.Call]int{paneltest.Report: 1, paneltest.PushCall: 0, paneltest.AliveCall: 0, paneltest.Status: 0}
		for call, want := range calls {
			if got := b.panel.Requests(call); got != want {
				t.Errorf("%d %s calls, want %d", got, call, want)
			}
		}
		b.move(tag1, 1, 6000, 0)
		l.Close()
		b.pass(5 * time.Minute)
		m := b.panel.Metrics(1)
		for name, want := range map[string]float64{"total_users": 2, "active_users": 0, "active_connections": 0, "total_connections": 3, "outbound_speed": 0} {
			if got, ok := m[name].(float64); !ok || got != want {
				t.Errorf("%s = %v, want %v", name, m[name], want)
			}
		}
		if m["uptime"].(float64) < 300 || m["goroutines"].(float64) < 1 || m["kernel_status"] != true || len(m["load"].([]any)) != 3 {
			t.Errorf("metrics = %v", m)
		}
		if len(b.panel.Alive(1, 2)) != 0 || b.panel.Conns(1, 2) != 0 || b.panel.Loads(1) < 4 {
			t.Errorf("after it left: %q, %d connections, %d states", b.panel.Alive(1, 2), b.panel.Conns(1, 2), b.panel.Loads(1))
		}
		if st := b.status(tag1); st.Reports != 2 || st.ReportedUp != 12_000 || st.BacklogBytes != 0 {
			t.Errorf("status = %+v", st)
		}
	})
}

// TestMergedFaults: the bytes of a merged report have the fate that those of a push have.
func TestMergedFaults(t *testing.T) {
	for _, tt := range []struct {
		fault  paneltest.Fault
		policy string
		billed int64 // in the end, of 5 bytes
		held   int64
	}{
		{paneltest.TooMany(time.Second), "hold", 5, 0},
		{paneltest.Forbidden(), "hold", 5, 0},
		{paneltest.Failure(), "hold", 5, 0},
		{paneltest.ServerError(true), "hold", 5, 5},
		{paneltest.ServerError(false), "hold", 0, 5},
		{paneltest.ServerError(true), "retry", 10, 0},
		{paneltest.ServerError(true), "drop", 5, 0},
		{paneltest.BadGateway(), "hold", 0, 5},
		{paneltest.Hang(true), "hold", 5, 5},
		{paneltest.Reset(true), "hold", 5, 5},
		{paneltest.CutBody(), "hold", 5, 5},
		{paneltest.Garbage(), "hold", 5, 5},
		{paneltest.NotModified(), "hold", 0, 5},
		{paneltest.OldShape(), "hold", 5, 0},
	} {
		t.Run(fmt.Sprintf("%s %s", tt.fault, tt.policy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newMergedBench(t)
				b.cfg.Traffic.OnAmbiguous = tt.policy
				b.start()
				defer b.stop()
				b.move(tag1, 1, 5, 0)
				b.panel.Fail(paneltest.Report, tt.fault, 1)
				b.pass(10 * time.Minute)
				st := b.status(tag1)
				if got := b.panel.Traffic(1, 1).Up; got != tt.billed || st.HeldBytes != tt.held || st.BacklogBytes != 0 {
					b.log.dump(t)
					t.Errorf("billed %d, want %d; held %d, want %d; waiting %d", got, tt.billed, st.HeldBytes, tt.held, st.BacklogBytes)
				}
			})
		})
	}
}

// TestMergedNotThere: a panel without the call, or with another shape of it, is told in separate ones.
func TestMergedNotThere(t *testing.T) {
	for name, spoil := range map[string]func(*paneltest.Panel){
		"404": (*paneltest.Panel).DisableReport,
		"422": func(p *paneltest.Panel) { p.Fail(paneltest.Report, paneltest.OldShape(), -1) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newMergedBench(t)
				b.cfg.Machine = machine.New(t.TempDir())
				spoil(b.panel)
				b.start()
				defer b.stop()
				l, err := b.host.users(tag1)[1].Meter.Open(t.Context(), netip.MustParseAddr("192.0.2.9"), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				l.Up(5)
				b.pass(67 * time.Second)
				if got := b.panel.Traffic(1, 1).Up; got != 5 || len(b.panel.Alive(1, 1)) != 1 || b.panel.Loads(1) != 1 {
					b.log.dump(t)
					t.Errorf("billed %d, alive %q, %d states", got, b.panel.Alive(1, 1), b.panel.Loads(1))
				}
				b.pass(5 * time.Minute)
				if n := b.panel.Requests(paneltest.Report); n > 1 {
					t.Errorf("asked %d times", n)
				}
				if b.log.count("takes no merged reports") != 1 || b.log.count("level=WARN") != 0 {
					b.log.dump(t)
					t.Error("not told once, or as a failure")
				}
			})
		})
	}
}

// TestMergedThresholds: what is below waits, and goes with a later merged report.
func TestMergedThresholds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newMergedBench(t)
		b.cfg.Limits.Report = option.Report{MinTrafficKB: 10, MinOnlineKB: 20}
		b.cfg.Limits.IPExpiry = option.Duration(5 * time.Minute) // longer than any report takes to come
		b.start()
		defer b.stop()
		b.move(tag1, 1, 10*1024-1, 0)
		b.move(tag1, 2, 30*1024, 0)
		b.pass(67 * time.Second)
		if one, two := b.panel.Traffic(1, 1).Up, b.panel.Traffic(1, 2).Up; one != 0 || two != 30*1024 {
			t.Errorf("billed %d and %d", one, two)
		}
		if len(b.panel.Alive(1, 1)) != 0 || len(b.panel.Alive(1, 2)) != 1 {
			t.Errorf("alive: %q and %q", b.panel.Alive(1, 1), b.panel.Alive(1, 2))
		}
		b.move(tag1, 1, 1, 0)
		b.pass(67 * time.Second)
		if one := b.panel.Traffic(1, 1).Up; one != 10*1024 {
			t.Errorf("billed %d", one)
		}
	})
}

// TestMergedManyUsers: the first thousand users go with the rest, the others alone; each is settled by itself.
func TestMergedManyUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const users = 2500
		b := newMergedBench(t)
		for id := 3; id <= users; id++ {
			b.panel.SetUser(paneltest.User{ID: id})
		}
		b.start()
		defer b.stop()
		for id := int64(1); id <= users; id++ {
			b.move(tag1, id, id, 1)
		}
		b.panel.Fail(paneltest.PushCall, paneltest.TooMany(time.Second), 1)
		b.pass(5 * time.Minute)
		if total := b.panel.Total(); total.Up != users*(users+1)/2 || total.Down != users {
			t.Errorf("billed %+v", total)
		}
		for _, p := range b.panel.Pushes() {
			if len(p.Users) > 1000 {
				t.Errorf("%d users in one report", len(p.Users))
			}
		}
	})
}

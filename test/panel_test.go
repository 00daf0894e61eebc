package test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"heki/panel/paneltest"
	"heki/test/harness"
)

// TestPanelUsers adds, removes and re-keys users while their traffic flows through real clients.
func TestPanelUsers(t *testing.T) {
	t.Parallel()
	for name, cell := range panelCells() {
		harness.Cell(t, name, func(t testing.TB) { testPanelUsers(t, cell) })
	}
}

func testPanelUsers(t testing.TB, cell panelCell) {
	s := newSite(t, cell.road, 3, nil)
	s.mux = cell.mux
	s.start(t)
	c := s.client(t, cell.client)
	to := s.targets.TCP
	kept := startFlow(t, c.Socks("1"), to)
	removed := startFlow(t, c.Socks("2"), to)
	rekeyed := startFlow(t, c.Socks("3"), to)

	// One table, so that one sync sees all three changes.
	before := s.panel.Users()
	before[2].UUID = paneltest.NewUUID()
	s.panel.SetUsers([]paneltest.User{before[0], before[2], {ID: 4, UUID: paneltest.NewUUID()}})
	s.cut(t, removed, rekeyed)
	kept.alive(t, "an unchanged user")

	harness.CheckRefused(t, c.Socks("2"), s.targets)
	harness.CheckRefused(t, c.Socks("3"), s.targets) // the client still has the old key
	later := s.client(t, cell.client)                // knows the panel's present users
	for _, id := range []int{1, 3, 4} {
		startFlow(t, later.Socks(fmt.Sprint(id)), to).finish(t)
	}
	kept.alive(t, "an unchanged user")
	up, down := kept.finish(t)
	t.Logf("the unchanged user moved %d up and %d down on one connection", up, down)
}

// TestPanelBilling moves known amounts and wants the panel to be told exactly those.
func TestPanelBilling(t *testing.T) {
	t.Parallel()
	for name, cell := range panelCells() {
		harness.Cell(t, name, func(t testing.TB) {
			s := newSite(t, cell.road, 2, nil)
			s.mux = cell.mux
			p := s.start(t)
			c := s.client(t, cell.client)
			want := s.move(t, c)
			s.billed(t, "after reports", want)
			for id := range want {
				eventually(t, fmt.Sprintf("the address of user %d", id), func() bool {
					return slices.Equal(s.panel.Alive(nodeID, id), []string{harness.Loopback})
				})
			}
			p.Stop()
			s.billed(t, "after the final report", want)
		})
	}
}

// move makes traffic of both users through a client and returns what the panel must be told.
func (s *site) move(t testing.TB, c *harness.Client) map[int]paneltest.Traffic {
	t.Helper()
	want := make(map[int]paneltest.Traffic)
	for id, size := range map[int]int64{1: 1 << 20, 2: 123_457} {
		socks := c.Socks(fmt.Sprint(id))
		up, down := harness.Bill(t, socks, s.targets, size)
		want[id] = paneltest.Traffic{Up: up, Down: down}
	}
	return want
}

// billed wants the panel's books to become exactly want, which no repetition forgives, unless the moving
// itself has failed. A report too many shows in the call after the final report.
func (s *site) billed(t testing.TB, when string, want map[int]paneltest.Traffic) {
	t.Helper()
	if t.Failed() {
		t.FailNow()
	}
	same := func() bool {
		got := s.panel.TrafficOf(nodeID)
		for id, w := range want {
			if got[id] != w {
				return false
			}
		}
		return len(got) == len(want)
	}
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !same() {
		select {
		case <-tick.C:
		case <-deadline:
			harness.Unforgivable(t)
			t.Fatalf("%s: the panel was told %v, want %v", when, s.panel.TrafficOf(nodeID), want)
		}
	}
}

// TestPanelFinalReport stops heki before any regular report: SIGTERM alone must bring the bytes.
func TestPanelFinalReport(t *testing.T) {
	t.Parallel()
	harness.Twice(t, testPanelFinalReport)
}

func testPanelFinalReport(t testing.TB) {
	s := newSite(t, harness.Road{Protocol: "vless"}, 2, func(config harness.JSON) {
		config["panels"].([]harness.JSON)[0]["report_interval"] = "1h"
	})
	p := s.start(t)
	c := s.client(t, harness.SingBox)
	want := s.move(t, c)
	open := startFlow(t, c.Socks("1"), s.targets.TCP) // still open when the signal comes
	start := time.Now()
	code, err := p.Stop()
	if err != nil || code != 0 {
		t.Errorf("exit code %d, %v; want 0", code, err)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("exit took %s, want at most 10 s", d)
	}
	if err := <-open.ended; err == nil {
		t.Error("a connection survived the process")
	}
	got := s.panel.Traffic(nodeID, 1)
	up, down := open.bytes.Load(), open.bytes.Load()
	t.Logf("user 1: billed %v; the open flow had moved %d up and %d down", got, up, down)
	if got.Up < want[1].Up+up || got.Down < want[1].Down+down || got.Up > want[1].Up+up+4000 || got.Down > want[1].Down+down+4000 {
		harness.Unforgivable(t)
		t.Errorf("user 1: billed %v, want %v and the open flow's %d up, %d down (one message more at most)", got, want[1], up, down)
	}
	if got := s.panel.Traffic(nodeID, 2); got != want[2] {
		harness.Unforgivable(t)
		t.Errorf("user 2: billed %v, want %v", got, want[2])
	}
}

// TestPanelDownAtStart starts heki from the last good snapshot while the panel is down, serves, and
// reports once the panel is back.
func TestPanelDownAtStart(t *testing.T) {
	t.Parallel()
	harness.Twice(t, testPanelDownAtStart)
}

func testPanelDownAtStart(t testing.TB) {
	s := newSite(t, harness.Road{Protocol: "trojan", TLS: true}, 2, nil)
	s.start(t).Stop() // leaves a snapshot
	s.panel.Down()
	p := s.start(t)
	c := s.client(t, harness.Xray)
	want := s.move(t, c)
	p.WaitLog(t, "connection refused") // so that a report has failed too, or at least a sync
	if err := s.panel.Up(); err != nil {
		t.Fatal(err)
	}
	s.billed(t, "after the panel came back", want)
}

// TestPanelFailures lets the final report of one run fail and starts heki again: what certainly was
// not booked is told later, what may have been booked is held, nothing is billed twice.
func TestPanelFailures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fault paneltest.Fault
		told  bool // the failed report's bytes are in the books in the end
	}{
		{paneltest.Forbidden(), true}, // definite: told later
		{paneltest.TooMany(time.Second), true},
		{paneltest.Failure(), true},
		{paneltest.ServerError(true), true}, // ambiguous, and booked at once
		{paneltest.Reset(true), true},
		{paneltest.Hang(true), true},
		{paneltest.ServerError(false), false}, // ambiguous, not booked: on_ambiguous is hold
		{paneltest.BadGateway(), false},
	} {
		harness.Cell(t, tt.fault.String(), func(t testing.TB) {
			s := newSite(t, harness.Road{Protocol: "vless"}, 2, func(config harness.JSON) {
				config["panels"].([]harness.JSON)[0]["report_interval"] = "1h"
			})
			p := s.start(t)
			want := s.move(t, s.client(t, harness.SingBox))
			for _, call := range []paneltest.Call{paneltest.PushCall, paneltest.Report} {
				s.panel.Fail(call, tt.fault, 1)
			}
			p.Stop()
			if s.panel.Requests(paneltest.PushCall)+s.panel.Requests(paneltest.Report) == 0 {
				t.Fatal("no final report")
			}
			s.panel.Heal()
			p = s.start(t)
			for id, more := range s.move(t, s.client(t, harness.SingBox)) {
				if !tt.told {
					want[id] = paneltest.Traffic{}
				}
				want[id] = paneltest.Traffic{Up: want[id].Up + more.Up, Down: want[id].Down + more.Down}
			}
			p.Stop()
			s.billed(t, "after the second run", want)
		})
	}
}

// TestPanelBadNode has a node that heki cannot serve beside one that it can: neither start nor sync
// of the good one suffers.
func TestPanelBadNode(t *testing.T) {
	t.Parallel()
	harness.Twice(t, testPanelBadNode)
}

func testPanelBadNode(t testing.TB) {
	s := newSite(t, harness.Road{Protocol: "vless"}, 2, func(config harness.JSON) {
		entry := config["panels"].([]harness.JSON)[0]
		entry["nodes"] = append(entry["nodes"].([]harness.JSON), harness.JSON{"id": 2}, harness.JSON{"id": 3})
	})
	s.panel.SetNode(paneltest.Node{ID: 2, Protocol: "mieru", Port: 1})
	// Node 3 is not on the panel at all.
	p := s.start(t)
	c := s.client(t, harness.SingBox)
	kept := startFlow(t, c.Socks("1"), s.targets.TCP)
	s.nextSync(t)
	s.nextSync(t)
	kept.alive(t, "a connection of the good node")
	p.WaitLog(t, "node 2")
	p.WaitLog(t, "node 3")
	kept.finish(t)
}

// TestPanelNodeChange moves a node to another port while a connection is open: new clients find it
// there, the old connection lives on.
func TestPanelNodeChange(t *testing.T) {
	t.Parallel()
	harness.Twice(t, testPanelNodeChange)
}

func testPanelNodeChange(t testing.TB) {
	s := newSite(t, harness.Road{Protocol: "vless"}, 1, nil)
	p := s.start(t)
	kept := startFlow(t, s.client(t, harness.SingBox).Socks("1"), s.targets.TCP)
	s.port = harness.FreePort(t)
	s.panel.SetNode(s.node())
	p.WaitPort(t, harness.Address(s.port))
	startFlow(t, s.client(t, harness.SingBox).Socks("1"), s.targets.TCP).finish(t)
	kept.alive(t, "a connection to the old port")
	kept.finish(t)
}

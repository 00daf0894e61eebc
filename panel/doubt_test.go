package panel_test

import (
	"testing"
	"testing/synctest"
	"time"

	"heki/constant"
	"heki/internal/meter"
	"heki/option"
	"heki/panel/paneltest"
	"heki/panel/v2board"
)

// TestDecisions: what a person decides about held batches holds, while the process runs and across a start.
func TestDecisions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetUser(paneltest.User{ID: 1})
		b.start()
		hold := func(up int64) {
			b.move(tag1, 1, up, 0)
			b.panel.Fail(paneltest.PushCall, paneltest.Hang(false), 1)
			b.pass(5 * time.Minute)
		}
		decide := func(d meter.Decision) {
			if err := meter.Decide(b.cfg.StateDir, tag1, "", d); err != nil {
				t.Fatal(err)
			}
		}
		hold(5)
		decide(meter.Resend)
		b.pass(3 * time.Minute)
		if got, st := b.panel.Traffic(1, 1).Up, b.status(tag1); got != 5 || st.HeldBytes != 0 {
			t.Errorf("billed %d, held %d after resend", got, st.HeldBytes)
		}
		hold(7)
		b.stop()
		decide(meter.Discard)
		b.start()
		defer b.stop()
		b.pass(3 * time.Minute)
		if got, st := b.panel.Traffic(1, 1).Up, b.status(tag1); got != 5 || st.HeldBytes != 0 {
			t.Errorf("billed %d, held %d after discard", got, st.HeldBytes)
		}
	})
}

// TestBrittle: SSPanel fails at a user who is gone, after it has booked those before. Everybody else's bytes
// must be billed once all the same, and only those of who is gone stay in doubt.
func TestBrittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 0)
		b.panel = paneltest.NewSSPanel(token, false)
		b.wire.Panel = b.panel
		o := &b.cfg.Options[0]
		o.Type, o.APIVersion, o.Nodes = "", 0, []option.PanelNode{{ID: 1}} // and the type is found out
		b.panel.SetNode(paneltest.Node{ID: 1, Protocol: "trojan", Port: 443})
		for id := 1; id <= 5; id++ {
			b.panel.SetUser(paneltest.User{ID: id})
		}
		b.start()
		defer b.stop()
		for id := int64(1); id <= 5; id++ {
			b.move(tag1, id, 10*id, 0)
		}
		b.panel.RemoveUser(2)
		b.pass(10 * time.Minute)
		for id, want := range map[int]int64{1: 10, 2: 0, 3: 30, 4: 40, 5: 50} {
			if got := b.panel.Traffic(1, id).Up; got != want {
				t.Errorf("user %d: billed %d, want %d", id, got, want)
			}
		}
		if st := b.status(tag1); st.HeldBytes != 20 || st.BacklogBytes != 0 {
			t.Errorf("held %d, backlog %d, want 20 and 0", st.HeldBytes, st.BacklogBytes)
		}
	})
}

// TestClosedNode: a node that the panel has closed loses its users at the second sighting, and one line tells why.
func TestClosedNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 0)
		b.panel = paneltest.NewSSPanel(token, true)
		b.wire.Panel = b.panel
		b.cfg.Options[0].Type, b.cfg.Options[0].APIVersion, b.cfg.Options[0].Nodes = "sspanel", 1, []option.PanelNode{{ID: 1}}
		row := paneltest.Node{ID: 1, Protocol: "trojan", Port: 443}
		b.panel.SetNode(row)
		b.panel.SetUser(paneltest.User{ID: 4})
		b.start()
		defer b.stop()
		row.Closed = "Node out of bandwidth."
		b.panel.SetNode(row)
		b.pass(30 * time.Minute)
		if n := b.log.count("it has no users"); n != 1 || len(b.host.users(tag1)) != 0 {
			b.log.dump(t)
			t.Errorf("told %d times, %d users are served", n, len(b.host.users(tag1)))
		}
		row.Closed = ""
		b.panel.SetNode(row)
		b.pass(3 * time.Minute)
		if len(b.host.users(tag1)) != 1 {
			t.Error("the node is open again and has no users")
		}
	})
}

// TestRemovedNode: a node that the panel does not know any more serves nobody, over a restart too.
func TestRemovedNode(t *testing.T) {
	sspanelOf := func(key string) *paneltest.Panel { return paneltest.NewSSPanel(key, false) }
	for _, tt := range []struct {
		kind     string
		panel    func(string) *paneltest.Panel
		protocol string
	}{
		{constant.PanelSSPanel, sspanelOf, "trojan"},
		{constant.PanelSSPanel, sspanelOf, "shadowsocksr"},
		{constant.PanelXBoard, paneltest.New, "trojan"},
		{constant.PanelV2board, paneltest.NewV2board, "trojan"},
		{constant.PanelXiaoV2board, paneltest.NewXiaoV2board, "trojan"},
	} {
		t.Run(tt.kind+"/"+tt.protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, 0)
				b.panel = tt.panel(token)
				b.wire.Panel = b.panel
				b.cfg.Kinds["v2board"], b.cfg.Kinds["xiaov2board"] = v2board.Kind(), v2board.XiaoKind()
				b.cfg.Options[0].Type, b.cfg.Options[0].APIVersion, b.cfg.Options[0].Nodes = tt.kind, 0, []option.PanelNode{{ID: 1}}
				row := paneltest.Node{ID: 1, Protocol: tt.protocol, Port: 443}
				b.panel.SetNode(row)
				b.panel.SetUser(paneltest.User{ID: 4, Port: 20004, Method: "aes-256-gcm"})
				b.start()
				want := func(users int, when string) {
					if n := len(b.host.users(tag1)); n != users {
						b.log.dump(t)
						t.Errorf("%s: %d users, want %d", when, n, users)
					}
				}
				b.pass(3 * time.Minute)
				want(1, "at first")
				b.panel.RemoveNode(1)
				for range 2 {
					b.pass(5 * time.Minute)
					want(0, "when it is gone")
					b.stop()
					b.start()
				}
				defer b.stop()
				b.panel.SetNode(row)
				b.pass(20 * time.Minute)
				want(1, "when it is back")
			})
		})
	}
}

// TestRulesGoWithTheirPanel: an entry that means another panel from now on forgets the rules of the former one.
func TestRulesGoWithTheirPanel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		xboard, other := b.panel, b.cfg.Options[0]
		xboard.SetUser(paneltest.User{ID: 1})
		b.panel = paneltest.NewSSPanel(token, true)
		b.wire.Panel = b.panel
		b.panel.SetUser(paneltest.User{ID: 1})
		b.panel.SetNode(paneltest.Node{ID: 1, Protocol: "trojan", Port: 443})
		b.panel.SetRules([]paneltest.Rule{{ID: 7, Regex: "torrent", Type: 1}})
		b.cfg.Options[0].Type = "sspanel"
		b.start()
		defer b.stop()
		if len(b.host.rules[tag1]) != 1 {
			t.Fatalf("rules are %q", b.host.rules[tag1])
		}
		b.wire.Panel = xboard
		if err := b.s.Reload([]option.Panel{other}, b.cfg.Limits, option.Traffic{}); err != nil {
			t.Fatal(err)
		}
		b.pass(2 * time.Minute)
		if got := b.host.rules[tag1]; len(got) != 0 {
			t.Errorf("the former panel's rules stay: %q", got)
		}
	})
}

// TestHits: the panel's rules are in force, and it hears of each user who met one, once a report.
func TestHits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 0)
		b.panel = paneltest.NewSSPanel(token, true)
		b.wire.Panel = b.panel
		b.cfg.Options[0].Type, b.cfg.Options[0].APIVersion, b.cfg.Options[0].Nodes = "sspanel", 1, []option.PanelNode{{ID: 1}}
		b.panel.SetNode(paneltest.Node{ID: 1, Protocol: "trojan", Port: 443})
		b.panel.SetUser(paneltest.User{ID: 4})
		b.panel.SetRules([]paneltest.Rule{{ID: 9, Regex: "torrent", Type: 1}})
		b.start()
		defer b.stop()
		if got := b.host.rules[tag1]; len(got) != 1 || got[0] != "regexp:torrent" {
			t.Errorf("rules = %q", got)
		}
		for range 3 {
			b.s.Hit(tag1, 4, 9)
		}
		b.s.Hit(tag1, 0, 9) // a static user
		b.s.Hit("panel/other/1", 4, 9)
		b.panel.Fail(paneltest.DetectLog, paneltest.Forbidden(), 1)
		b.pass(4 * time.Minute)
		if got := b.panel.Hits(); len(got) != 1 || got[0] != (paneltest.Hit{Node: 1, User: 4, Rule: 9}) {
			t.Errorf("hits = %+v", got)
		}
		for _, want := range []int{1, 0} { // with rules, and after they were removed while heki did not run
			b.stop()
			b.wire.SetDown(true)
			b.start()
			b.pass(4 * time.Second)
			if got := b.host.routing[tag1].Rules; len(b.host.users(tag1)) != 1 || len(got) != want || want == 1 && got[0].ID != 9 {
				t.Errorf("from the snapshot: rules %+v, want %d", got, want)
			}
			b.stop()
			b.wire.SetDown(false)
			if want == 1 {
				b.panel.SetRules(nil)
			}
			b.start()
		}
		b.panel.SetRules([]paneltest.Rule{{ID: 9, Regex: "torrent", Type: 1}})
		b.pass(2 * time.Minute)
		b.panel.SetRules(nil)
		b.pass(2 * time.Minute)
		if got := b.host.rules[tag1]; len(got) != 0 {
			t.Errorf("rules after they were removed = %q", got)
		}
	})
}

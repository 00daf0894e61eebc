package panel_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"heki/option"
	"heki/panel"
	"heki/panel/paneltest"
	"heki/panel/ppanel"
)

func TestThresholds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.cfg.Limits.Report = option.Report{MinTrafficKB: 10, MinOnlineKB: 1}
		b.panel.SetUser(paneltest.User{ID: 1})
		b.panel.SetUser(paneltest.User{ID: 2})
		b.start()
		defer b.stop()
		for id := int64(1); id <= 2; id++ { // both stay connected
			l, err := b.host.users(tag1)[id].Meter.Open(t.Context(), netip.MustParseAddr("192.0.2.1"), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
		}
		b.move(tag1, 1, 6<<10, 0)
		b.move(tag1, 2, 100, 0)
		b.pass(67 * time.Second)
		if b.panel.Total().Up != 0 || len(b.panel.Alive(1, 2)) != 0 || len(b.panel.Alive(1, 1)) != 1 {
			t.Errorf("billed %+v, alive %q %q", b.panel.Total(), b.panel.Alive(1, 1), b.panel.Alive(1, 2))
		}
		b.move(tag1, 1, 6<<10, 0)
		b.pass(2 * time.Minute)
		if got := b.panel.Traffic(1, 1).Up; got != 12<<10 {
			t.Errorf("billed %d, want what was carried over as well", got)
		}
	})
}

// TestThresholdsLoseNothing: nobody's last bytes wait for more that will not come.
func TestThresholdsLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2)
		b.cfg.Limits.Report = option.Report{MinTrafficKB: 10}
		for id := 1; id <= 3; id++ {
			b.panel.SetUser(paneltest.User{ID: id})
		}
		b.start()
		b.move(tag1, 1, 100, 0)
		b.move(tag1, 2, 200, 0)
		b.move(panel.Tag("main", 2), 3, 300, 0)
		b.pass(2 * time.Minute)
		if got := b.panel.Total().Up; got != 0 {
			t.Errorf("%d bytes are billed below the threshold", got)
		}
		b.panel.RemoveUser(1)
		b.pass(3 * time.Minute) // a sync and a report after it
		if got := b.panel.Traffic(1, 1).Up; got != 100 {
			t.Errorf("billed %d of the user who was removed, want 100", got)
		}
		only := b.cfg.Options[0]
		only.Nodes = only.Nodes[:1]
		if err := b.s.Reload([]option.Panel{only}, b.cfg.Limits, b.cfg.Traffic); err != nil {
			t.Error(err)
		}
		if got := b.panel.Traffic(2, 3).Up; got != 300 {
			t.Errorf("billed %d on the node that was removed, want 300", got)
		}
		b.stop()
		if got := b.panel.Traffic(1, 2).Up; got != 200 {
			t.Errorf("billed %d after the last report, want 200", got)
		}
	})
}

// TestFloor: what a panel would throw away waits until it is enough, over a restart too, and against a lower
// threshold of the operator's.
func TestFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 0)
		b.panel = paneltest.NewPPanel(token)
		b.wire.Panel = b.panel
		b.panel.SetCommon(paneltest.Common{Threshold: 5000})
		b.panel.SetNode(paneltest.Node{ID: 1, Protocol: "vmess", Port: 10001})
		b.panel.SetUser(paneltest.User{ID: 7})
		b.cfg.Kinds["ppanel"] = ppanel.Kind()
		b.cfg.Limits.Report = option.Report{MinTrafficKB: 1}
		o := &b.cfg.Options[0]
		o.Type, o.APIVersion, o.Nodes = "ppanel", 0, []option.PanelNode{{ID: 1}}
		b.start()
		b.move(tag1, 7, 4000, 0)
		b.pass(3 * time.Minute)
		b.stop()
		if got := b.panel.Requests(paneltest.PushCall); got != 0 {
			t.Errorf("%d reports that the panel throws away", got)
		}
		b.start()
		defer b.stop()
		b.pass(time.Minute)
		b.move(tag1, 7, 1001, 0)
		b.pass(3 * time.Minute)
		if got := b.panel.Traffic(1, 7).Up; got != 5001 {
			b.log.dump(t)
			t.Errorf("billed %d, want 5001", got)
		}
	})
}

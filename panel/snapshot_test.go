package panel_test

import (
	"os"
	"testing"
	"testing/synctest"
	"time"

	"heki/panel/paneltest"
)

func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetUser(paneltest.User{ID: 1, UUID: "not-really-a-uuid", SpeedMbps: 3, DeviceLimit: 2})
		u := b.panel.SetUser(paneltest.User{ID: 2})
		b.start()
		want := b.host.users(tag1)
		b.stop()

		b.wire.SetDown(true)
		b.start()
		defer b.stop()
		got := b.host.users(tag1)
		if len(got) != 2 {
			b.log.dump(t)
			t.Fatalf("from the snapshot: %d users", len(got))
		}
		for id := range want {
			if got[id].Account != want[id].Account {
				t.Errorf("snapshot has %+v, want %+v", got[id].Account, want[id].Account)
			}
		}
		if !b.status(tag1).FromSnapshot || b.log.count("from the snapshot of") != 1 {
			t.Error("nobody was told")
		}
		b.wire.SetDown(false)
		b.panel.RemoveUser(u.ID)
		b.pass(time.Minute)
		if len(b.host.users(tag1)) != 1 || b.status(tag1).FromSnapshot {
			t.Error("the panel is back and was not heard")
		}
	})
}

// A panel that takes connections and says nothing holds the start up for seconds only.
func TestSnapshotWhilePanelHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetUser(paneltest.User{ID: 1})
		b.start()
		b.stop()
		b.panel.Fail(paneltest.Any, paneltest.Hang(false), -1)
		b.start()
		defer b.stop()
		b.pass(4 * time.Second)
		if len(b.host.users(tag1)) != 1 {
			t.Error("not serving from the snapshot after 4 s")
		}
	})
}

func TestCorruptSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetUser(paneltest.User{ID: 1})
		b.start()
		b.stop()
		files, err := os.ReadDir(b.cfg.StateDir + "/panels")
		if err != nil || len(files) != 1 {
			t.Fatalf("snapshots: %v, %v", files, err)
		}
		path := b.cfg.StateDir + "/panels/" + files[0].Name()
		if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
			t.Errorf("mode = %v", info.Mode())
		}
		if err := os.WriteFile(path, []byte(`{"version":1,"nodes":[{"id":1,"proto`), 0o600); err != nil {
			t.Fatal(err)
		}
		b.wire.SetDown(true)
		b.start()
		defer b.stop()
		b.pass(4 * time.Second)
		if b.host.users(tag1) != nil || b.log.count(".corrupt") != 1 {
			b.log.dump(t)
			t.Error("corrupt snapshot")
		}
		b.wire.SetDown(false)
		b.pass(time.Minute)
		if len(b.host.users(tag1)) != 1 {
			t.Error("not serving after the panel came back")
		}
	})
}

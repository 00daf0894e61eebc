package panel_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"heki/internal/meter"
	"heki/option"
	"heki/panel"
	"heki/panel/machine"
	"heki/panel/paneltest"
)

const machineKey = "the machine's own token"

// machineNode is a row of machine 4.
func machineNode(id int) paneltest.Node {
	return paneltest.Node{ID: id, Protocol: "vless", Port: 10000 + id, Machine: 4, Name: fmt.Sprintf("HK %d", id)}
}

// newMachineBench has machine 4 with nodes 1 to n, which the configuration does not name.
func newMachineBench(t *testing.T, nodes int) *bench {
	t.Helper()
	b := newBench(t, 0)
	o := &b.cfg.Options[0]
	o.APIVersion, o.MachineID, o.Key = 2, 4, machineKey
	b.panel.SetMachine(paneltest.Machine{ID: 4, Token: machineKey})
	for id := 1; id <= nodes; id++ {
		b.panel.SetNode(machineNode(id))
	}
	b.panel.SetNode(paneltest.Node{ID: 99, Protocol: "vless", Port: 1}) // of nobody
	b.panel.SetUser(paneltest.User{ID: 1})
	return b
}

// serving are the numbers of the nodes that are served.
func (b *bench) serving() []int {
	var ids []int
	for _, st := range b.s.Status() {
		if b.host.users(st.Tag) != nil {
			ids = append(ids, int(st.ID))
		}
	}
	return ids
}

func (b *bench) wantServing(ids ...int) {
	b.t.Helper()
	if got := b.serving(); !slices.Equal(got, ids) {
		b.log.dump(b.t)
		b.t.Fatalf("nodes %v are served, want %v", got, ids)
	}
}

// TestMachine: the panel says which nodes there are; settings of the configuration hold for those they name.
func TestMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newMachineBench(t, 3)
		own := option.PanelNode{ID: 2}
		own.Listen.Listen = option.Listable[string]{"203.0.113.7"}
		b.cfg.Options[0].Nodes = []option.PanelNode{own, {ID: 77}}
		b.cfg.Options[0].NodeDefaults.Limits = &option.Limits{UserIPs: 5}
		b.start()
		defer func() { b.stop() }()
		b.wantServing(1, 2, 3)
		listen := func(id int64) option.Listable[string] {
			b.host.mu.Lock()
			defer b.host.mu.Unlock()
			return b.host.inbounds[panel.Tag("main", id)].opts.Options.(*option.VLESS).Stream.Listen.Listen
		}
		if len(listen(1)) != 0 || listen(2)[0] != "203.0.113.7" {
			t.Errorf("listen: %v and %v", listen(1), listen(2))
		}
		if u := b.host.users(tag1)[1]; u.IPLimit != 5 {
			t.Errorf("node_defaults do not hold: %+v", u.Account)
		}
		if b.log.count("does not give to this machine: 77") != 1 {
			t.Error("nobody was told of settings for nobody")
		}

		b.panel.SetNode(machineNode(5))
		renamed := machineNode(1)
		renamed.Name = "another name"
		b.panel.SetNode(renamed)
		off := machineNode(3)
		off.Disabled = true
		b.panel.SetNode(off)
		b.move("panel/main/3", 1, 100, 23)
		b.pass(70 * time.Second)
		b.wantServing(1, 2, 5)
		if r, _ := b.host.times(tag1); r != 1 {
			t.Errorf("the renamed node was built %d times", r)
		}
		if b.log.count("Node not found on this machine") == 0 || b.log.count("with 123 B unreported") != 1 {
			b.log.dump(t)
			t.Error("nobody was told why the last report failed")
		}
		if got := b.panel.Traffic(3, 1).Up; got != 0 {
			t.Errorf("a machine reported for a node that is not its: %d", got)
		}
		b.panel.SetNode(machineNode(3))
		b.pass(3 * time.Minute)
		b.wantServing(1, 2, 3, 5)
		if got := b.panel.Traffic(3, 1); got != (paneltest.Traffic{Up: 100, Down: 23}) {
			t.Errorf("the node is back, billed %+v", got)
		}
		if b.log.count("main/99") != 0 {
			t.Error("another's node was asked for")
		}
	})
}

// TestMachineTellsOfItself: the machine's own report, at the report interval.
func TestMachineTellsOfItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newMachineBench(t, 1)
		b.cfg.Machine = machine.New(t.TempDir())
		b.start()
		defer b.stop()
		b.pass(5 * time.Minute)
		st := b.panel.MachineStatus(4)
		if st.Reports < 4 || st.Reports > 7 || st.MemTotal == 0 {
			t.Errorf("%+v", st)
		}
		if b.panel.Loads(1) < 4 {
			t.Errorf("%d loads of the node", b.panel.Loads(1))
		}
		b.panel.Fail(paneltest.MachineStatusCall, paneltest.BadGateway(), 2)
		b.pass(5 * time.Minute)
		if b.log.count("report machine works again after 2 failures") != 1 {
			b.log.dump(t)
		}
	})
}

// TestMachineRefused: what the panel says reaches the operator, nodes go on, and it clears.
func TestMachineRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newMachineBench(t, 2)
		b.panel.SetMachine(paneltest.Machine{ID: 4, Token: machineKey, Disabled: true})
		b.start()
		defer b.stop()
		b.wantServing()
		if b.log.count("403 Forbidden: Machine not found or disabled; machine_id must be") != 1 {
			b.log.dump(t)
			t.Error("not told")
		}
		b.panel.SetMachine(paneltest.Machine{ID: 4, Token: machineKey})
		b.pass(time.Minute)
		b.wantServing(1, 2)
		if b.log.count("get nodes works again") != 1 {
			t.Error("not told that it works")
		}
		b.move(tag1, 1, 10, 0)
		b.panel.SetMachine(paneltest.Machine{ID: 4, Token: machineKey, Disabled: true})
		b.pass(10 * time.Minute)
		b.wantServing(1, 2)
		if b.log.count("Machine is disabled") == 0 {
			t.Error("nodes do not say why")
		}
		b.panel.SetMachine(paneltest.Machine{ID: 4, Token: machineKey})
		b.pass(10 * time.Minute)
		if got := b.panel.Traffic(1, 1).Up; got != 10 {
			t.Errorf("billed %d, want 10", got)
		}
		for _, line := range b.log.lines {
			if strings.Contains(line, machineKey) {
				t.Errorf("the key is in the log: %s", line)
			}
		}
	})
}

// TestMachineEmpty: a list that is suddenly empty is believed the second time.
func TestMachineEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newMachineBench(t, 2)
		b.start()
		defer b.stop()
		b.panel.Fail(paneltest.MachineNodes, paneltest.NoNodes(), 1)
		b.sync()
		b.wantServing(1, 2)
		if b.log.count("no nodes instead of 2") != 1 {
			t.Error("nobody was told")
		}
		b.sync() // they are back: as if nothing had been
		b.panel.Fail(paneltest.MachineNodes, paneltest.NoNodes(), 2)
		b.sync()
		b.wantServing(1, 2)
		b.sync()
		b.wantServing()
		b.sync()
		b.wantServing(1, 2)
	})
}

// TestMachineSnapshot: with the panel down, the nodes of the last run start; those of another machine do not.
func TestMachineSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newMachineBench(t, 2)
		b.start()
		b.wantServing(1, 2)
		b.stop()
		b.wire.SetDown(true)
		b.start()
		b.pass(10 * time.Second)
		b.wantServing(1, 2)
		if b.log.count("starting the 2 nodes of") != 1 {
			b.log.dump(t)
			t.Error("not told")
		}
		b.move(tag1, 1, 5, 0)
		gone := machineNode(2)
		gone.Machine = 0
		b.panel.SetNode(gone)
		b.wire.SetDown(false)
		b.pass(6 * time.Minute)
		b.wantServing(1)
		if got := b.panel.Traffic(1, 1).Up; got != 5 {
			t.Errorf("billed %d, want 5", got)
		}
		b.stop()
		b.wire.SetDown(true)
		b.cfg.Options[0].MachineID = 5
		b.start()
		b.pass(10 * time.Second)
		b.wantServing()
		b.stop()
		files, err := filepath.Glob(filepath.Join(b.cfg.StateDir, "panels", "machine*.json"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		if err := os.WriteFile(files[0], []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		b.start()
		b.pass(10 * time.Second)
		if b.log.count("is no list of nodes of this version") != 1 {
			t.Error("a broken list was not told")
		}
		b.stop()
	})
}

// TestMachineReload: another key or other defaults keep the nodes, another machine does not, and a machine
// may go.
func TestMachineReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newMachineBench(t, 3)
		six := machineNode(6)
		six.Machine = 5
		b.panel.SetNode(six)
		b.panel.SetMachine(paneltest.Machine{ID: 5, Token: "key of 5"})
		b.start()
		defer b.stop()
		reload := func(options ...option.Panel) {
			t.Helper()
			if err := b.s.Reload(options, b.cfg.Limits, option.Traffic{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		requests := b.panel.Requests(paneltest.Any)
		reload(b.cfg.Options[0])
		if n := b.panel.Requests(paneltest.Any) - requests; n != 0 {
			t.Errorf("an unchanged machine made %d calls", n)
		}
		next := b.cfg.Options[0]
		next.Key = "a new key"
		b.panel.SetMachine(paneltest.Machine{ID: 4, Token: next.Key})
		two := option.PanelNode{ID: 2}
		two.TCPFastOpen = true
		next.Nodes = []option.PanelNode{two}
		b.move(tag1, 1, 7, 0)
		reload(next)
		b.wantServing(1, 2, 3)
		for id, want := range map[int64]int{1: 1, 2: 2, 3: 1} {
			if r, _ := b.host.times(panel.Tag("main", id)); r != want {
				t.Errorf("node %d was built %d times, want %d", id, r, want)
			}
		}
		other := next
		other.MachineID, other.Key = 5, "key of 5"
		reload(other)
		b.wantServing(6)
		if got := b.panel.Traffic(1, 1).Up; got != 7 {
			t.Errorf("the last report of machine 4: %d, want 7", got)
		}
		reload()
		b.wantServing()
		if files, _ := filepath.Glob(filepath.Join(b.cfg.StateDir, "panels", "*")); len(files) != 0 {
			t.Errorf("left behind: %v", files)
		}
		reload(next)
		b.wantServing(1, 2, 3)
		b.panel.Fail(paneltest.MachineNodes, paneltest.Hang(false), 1)
		b.s.SyncNow("")
		reload() // while a call hangs
		b.wantServing()
	})
}

// TestMachinePush: one WebSocket tells of the list and of each node, single users included.
func TestMachinePush(t *testing.T) {
	b := newMachineBench(t, 2)
	server, err := paneltest.Start(b.panel)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	b.panel.EnablePush(server.URL)
	o := &b.cfg.Options[0]
	o.URL, o.SyncInterval, o.ReportInterval = server.URL, option.Duration(time.Hour), option.Duration(time.Hour)
	b.cfg.HTTP = nil
	b.cfg.Ledger = meter.NewLedger()
	if b.s, err = panel.New(b.cfg); err != nil {
		t.Fatal(err)
	}
	b.s.Start()
	defer b.stop()
	until(t, "the machine listens", func() bool { return b.panel.Watchers() == 1 && len(b.serving()) == 2 })
	b.panel.SetNode(machineNode(3))
	b.panel.TellNodes(4)
	until(t, "the new node is served", func() bool { return len(b.host.users(panel.Tag("main", 3))) == 1 })
	if n := b.panel.Watchers(); n != 1 {
		t.Errorf("%d listen, want the machine alone", n)
	}

	requests := b.panel.Requests(paneltest.Users)
	before := b.host.users(tag1)[1].Meter
	second := map[string]any{"id": 2, "uuid": paneltest.NewUUID(), "speed_limit": 8, "device_limit": nil}
	b.panel.TellNode(1, "sync.user.delta", map[string]any{"action": "add", "users": []any{second}})
	until(t, "the added user is served", func() bool { u := b.host.users(tag1)[2]; return u != nil && u.SpeedBytes == 1_000_000 })
	b.panel.TellNode(1, "sync.user.delta", map[string]any{"action": "remove", "users": []any{map[string]any{"id": 2}}})
	until(t, "the removed user is not", func() bool { return b.host.users(tag1)[2] == nil })
	if len(b.host.users(panel.Tag("main", 2))) != 1 || b.host.users(tag1)[1].Meter != before {
		t.Error("others noticed")
	}
	if n := b.panel.Requests(paneltest.Users) - requests; n > 2 { // those of auth.success may come late
		t.Errorf("%d pulls for two users", n)
	}
	b.panel.SetUser(paneltest.User{ID: 3})
	b.panel.TellNode(2, "sync.users", nil)
	until(t, "node 2 asked for its users", func() bool { return len(b.host.users(panel.Tag("main", 2))) == 2 })
	if err := b.s.Reload(nil, b.cfg.Limits, option.Traffic{}); err != nil {
		t.Error(err)
	}
	until(t, "nobody listens", func() bool { return b.panel.Watchers() == 0 })
}

// TestDeltaIsConfirmed: what was told is asked for at the next poll, also when the panel's table is that of
// the poll before.
func TestDeltaIsConfirmed(t *testing.T) {
	b := newMachineBench(t, 1)
	server, err := paneltest.Start(b.panel)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	b.panel.EnablePush(server.URL)
	o := &b.cfg.Options[0]
	o.URL, o.SyncInterval = server.URL, option.Duration(time.Hour)
	b.cfg.HTTP = nil
	b.cfg.Ledger = meter.NewLedger()
	b.panel.SetUser(paneltest.User{ID: 2})
	if b.s, err = panel.New(b.cfg); err != nil {
		t.Fatal(err)
	}
	b.s.Start()
	defer b.stop()
	until(t, "the machine listens", func() bool { return b.panel.Watchers() == 1 && len(b.host.users(tag1)) == 2 })
	b.panel.TellNode(1, "sync.user.delta", map[string]any{"action": "remove", "users": []any{map[string]any{"id": 2}}})
	until(t, "the user is removed", func() bool { return len(b.host.users(tag1)) == 1 })
	b.s.SyncNow(tag1)
	until(t, "the panel has it all the same", func() bool { return len(b.host.users(tag1)) == 2 })
}

// TestMachineNeedsAPanelWithMachines: others are refused at the start.
func TestMachineNeedsAPanelWithMachines(t *testing.T) {
	b := newBench(t, 0)
	b.cfg.Options[0].Type, b.cfg.Options[0].MachineID = "sspanel", 1
	b.cfg.Ledger = meter.NewLedger()
	if s, err := panel.New(b.cfg); err == nil || !strings.Contains(err.Error(), "has no machines") {
		t.Errorf("err = %v", err)
		_ = s.Close(context.Background())
	}
}

package test

import (
	"maps"
	"testing"

	"heki/panel/paneltest"
	"heki/test/harness"
)

// TestMachine: an XBoard gives a machine its nodes, which the configuration does not list. Real clients use them as
// both users, and the panel is told exactly what they moved.
func TestMachine(t *testing.T) {
	t.Parallel()
	harness.Twice(t, testMachine)
}

func testMachine(t testing.TB) {
	const key = "the token of the machine"
	f := newFleet(t, paneltest.New("the token of the test"), harness.JSON{"type": "xboard", "machine_id": 4})
	f.panel.SetMachine(paneltest.Machine{ID: 4, Token: key})
	onMachine := func(n *paneltest.Node, _ *harness.Lane, _ paneltest.User) { n.Machine, n.Name = 4, "HK" }
	for _, road := range []harness.Road{trojanRoad, vmessWS, ss2022} {
		f.add(t, road, onMachine)
	}
	f.panel.SetNode(paneltest.Node{ID: 99, Protocol: "trojan", Port: int(harness.FreePort(t))}) // another's
	targets := harness.StartTargets(t)
	cert := harness.NewCertificate(t)
	p := harness.Run(t, harness.Heki, harness.WriteConfig(t, harness.JSON{
		"log": harness.JSON{"level": "debug"}, "state_dir": t.TempDir(),
		"panels": []harness.JSON{{
			"name": "main", "type": "xboard", "url": f.panel.URL, "key": key, "machine_id": 4,
			"node_defaults": harness.JSON{"listen": harness.Loopback, "tls": harness.JSON{"certificate_path": cert.CertPath, "key_path": cert.KeyPath}},
		}},
	}))
	for _, wait := range f.ready {
		wait(p)
	}
	client := harness.StartClient(t, harness.SingBox, harness.Road{}, 1, cert, f.lanes[harness.SingBox]...)
	want := make(map[int]map[int]paneltest.Traffic)
	for i, b := range f.bills {
		harness.Part(t, b.lane, func(t testing.TB) {
			up, down := harness.Bill(t, client.Socks(b.lane), targets, int64(100_000+i))
			if want[b.node] == nil {
				want[b.node] = make(map[int]paneltest.Traffic)
			}
			sum := want[b.node][b.user]
			want[b.node][b.user] = paneltest.Traffic{Up: sum.Up + up, Down: sum.Down + down}
		})
	}
	if t.Failed() {
		return
	}
	p.Stop()
	if len(want) != 3 {
		t.Fatalf("clients moved bytes on %d nodes, want 3", len(want))
	}
	for node, moved := range want {
		if got := f.panel.TrafficOf(node); !maps.Equal(got, moved) {
			harness.Unforgivable(t)
			t.Errorf("node %d: the panel was told %v, want %v", node, got, moved)
		}
	}
	if f.panel.MachineStatus(4).Reports == 0 {
		t.Error("the machine told nothing of itself")
	}
}

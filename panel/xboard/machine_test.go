package xboard

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"heki/internal/meter"
	"heki/option"
	"heki/panel"
	"heki/panel/machine"
	"heki/panel/paneltest"
)

const machineKey = "the machine's own token"

// newMachineWorld is machine 4 of a panel with node 3, which is asked with that key.
func newMachineWorld(t *testing.T, key string) (*world, *Machine) {
	t.Helper()
	w := newWorld(t, 2)
	row := w.panel.Nodes()[0]
	row.Machine, row.Name = 4, "HK 1"
	w.panel.SetNode(row)
	w.panel.SetMachine(paneltest.Machine{ID: 4, Token: machineKey})
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	env := panel.Env{
		HTTP: &http.Client{Transport: transport}, Long: &http.Client{Transport: transport}, Now: time.Now,
		Say: func(_ slog.Level, format string, args ...any) { w.said = append(w.said, fmt.Sprintf(format, args...)) },
	}
	o := &option.Panel{URL: w.panel.URL, Key: key, APIVersion: 2, MachineID: 4}
	m, err := NewMachine(env, o)
	if err != nil {
		t.Fatal(err)
	}
	if w.Client, err = New(env, o, &option.PanelNode{ID: 3}); err != nil {
		t.Fatal(err)
	}
	return w, m
}

// TestMachine: the list, the machine's state, and the calls of a node with the machine's token.
func TestMachine(t *testing.T) {
	w, m := newMachineWorld(t, machineKey)
	list, err := m.Nodes(ctxOf(t))
	if err != nil || list.Pull != time.Minute || list.Push != time.Minute {
		t.Fatalf("%+v, %v", list, err)
	}
	if want := []panel.MachineNode{{ID: 3, Type: "vless", Name: "HK 1"}}; !slices.Equal(list.Nodes, want) {
		t.Errorf("nodes = %+v", list.Nodes)
	}
	state := machine.State{CPU: 12.5, Memory: machine.Usage{Total: 8, Used: 4}, Net: machine.Speed{In: 1000.7, Out: 2000}}
	if err := m.ReportMachine(ctxOf(t), state); err != nil {
		t.Fatal(err)
	}
	if got, want := w.panel.MachineStatus(4), (paneltest.MachineStatus{Reports: 1, CPU: 12.5, MemTotal: 8, InSpeed: 1000, OutSpeed: 2000}); got != want {
		t.Errorf("status = %+v, want %+v", got, want)
	}
	w.panel.SetUser(paneltest.User{ID: 1, UUID: uuid1})
	if _, err := w.Node(ctxOf(t)); err != nil {
		t.Fatal(err)
	}
	if users, err := w.Users(ctxOf(t)); err != nil || len(users) != 1 {
		t.Fatal(users, err)
	}
	if err := w.ReportTraffic(ctxOf(t), []meter.Traffic{{ID: 1, Up: 5}}); err != nil || w.panel.Traffic(3, 1).Up != 5 {
		t.Errorf("traffic: %v", err)
	}
}

// TestMachineRefusals: each is what the panel says, certain, and without the token.
func TestMachineRefusals(t *testing.T) {
	w, m := newMachineWorld(t, "wrong-secret-token")
	_, err := m.Nodes(ctxOf(t))
	checkClass(t, err, panel.Refused, "403 Forbidden: Machine not found or disabled; machine_id must be")
	checkClass(t, m.ReportMachine(ctxOf(t), machine.State{}), panel.Refused, "403")
	_, err = w.Node(ctxOf(t))
	checkClass(t, err, panel.Refused, "401 Unauthorized: Machine not found or invalid token")

	w, m = newMachineWorld(t, machineKey)
	w.panel.SetMachine(paneltest.Machine{ID: 4, Token: machineKey, Disabled: true})
	_, err = m.Nodes(ctxOf(t))
	checkClass(t, err, panel.Refused, "403 Forbidden")
	_, err = w.Node(ctxOf(t))
	checkClass(t, err, panel.Refused, "403 Forbidden: Machine is disabled")

	w, _ = newMachineWorld(t, machineKey)
	row := w.panel.Nodes()[0]
	row.Machine = 9
	w.panel.SetNode(row)
	_, err = w.Users(ctxOf(t))
	checkClass(t, err, panel.Refused, "400 Bad Request: Node not found on this machine")

	w, m = newMachineWorld(t, machineKey)
	w.panel.DisableV2()
	_, err = m.Nodes(ctxOf(t))
	checkClass(t, err, panel.Refused, "XBoard has machines since April 2026")
	_, err = w.Node(ctxOf(t))
	checkClass(t, err, panel.Refused, "404") // and version 1 is not tried with a machine's token
	if w.Path != pathV2 {
		t.Errorf("path = %s", w.Path)
	}
}

func TestParseNodes(t *testing.T) {
	many := make([]string, panel.MaxNodes+1)
	for i := range many {
		many[i] = fmt.Sprintf(`{"id":%d}`, i+1)
	}
	for _, tt := range []struct {
		name, in string
		ids      []int64
		skipped  int
		err      string
	}{
		{"as documented", `{"nodes":[{"id":1,"type":"vless","name":"x"}],"base_config":{"push_interval":60,"pull_interval":60}}`, []int64{1}, 0, ""},
		{"numbers as text", `{"nodes":[{"id":"7","type":null,"name":12}],"base_config":{"push_interval":"30"}}`, []int64{7}, 0, ""},
		{"a list with holes", `{"nodes":{"0":{"id":1},"2":{"id":3}},"base_config":[]}`, []int64{1, 3}, 0, ""},
		{"none", `{"nodes":[],"base_config":null}`, nil, 0, ""},
		{"twice and none", `{"nodes":[{"id":1},{"id":1},{"name":"no id"},{"id":-4}]}`, []int64{1}, 3, ""},
		{"missing", `{"data":[]}`, nil, 0, "nodes is missing"},
		{"null", `{"nodes":null}`, nil, 0, "nodes is missing"},
		{"no list", `{"nodes":"x"}`, nil, 0, "must be an object"},
		{"bad row", `{"nodes":[5]}`, nil, 0, "object"},
		{"bad id", `{"nodes":[{"id":"one"}]}`, nil, 0, "number"},
		{"too many", `{"nodes":[` + strings.Join(many, ",") + `]}`, nil, 0, "more than 1000 nodes"},
		{"cut", `{"nodes":[{"id":1}`, nil, 0, "not JSON"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, skipped, err := parseNodes([]byte(tt.in))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("err = %v, want %q in it", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var ids []int64
			for _, n := range list.Nodes {
				ids = append(ids, n.ID)
			}
			if !slices.Equal(ids, tt.ids) || len(skipped) != tt.skipped {
				t.Errorf("ids %v, skipped %q", ids, skipped)
			}
		})
	}
}

func FuzzParseNodes(f *testing.F) {
	f.Add([]byte(`{"nodes":[{"id":1,"type":"vless","name":"x"}],"base_config":{"push_interval":60,"pull_interval":60}}`))
	f.Add([]byte(`{"nodes":{"0":{"id":"1"}}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		list, _, err := parseNodes(in)
		if err != nil {
			return
		}
		seen := make(map[int64]bool)
		for _, n := range list.Nodes {
			if n.ID <= 0 || seen[n.ID] {
				t.Fatalf("id %d", n.ID)
			}
			seen[n.ID] = true
		}
		if len(list.Nodes) > panel.MaxNodes || list.Pull < 0 || list.Push < 0 {
			t.Fatalf("%+v", list)
		}
	})
}

func TestParseEvent(t *testing.T) {
	row := `{"id":2,"uuid":"` + uuid1 + `","speed_limit":null,"device_limit":3}`
	for _, tt := range []struct {
		name, in string
		want     event
		changed  string
		removed  []int64
	}{
		{"ping", `{"event":"ping"}`, event{name: "ping"}, "", nil},
		{"empty data", `{"event":"sync.config","data":[]}`, event{name: "sync.config"}, "", nil},
		{"of a node", `{"event":"sync.users","data":{"users":[` + row + `],"node_id":7},"timestamp":1}`, event{name: "sync.users", node: 7}, "", nil},
		{"data first", `{"data":{"users":[` + row + `],"node_id":"7"},"event":"sync.users"}`, event{name: "sync.users", node: 7}, "", nil},
		{"add", `{"event":"sync.user.delta","data":{"action":"add","users":[` + row + `]}}`, event{name: eventDelta, action: "add"}, `{"users":[` + row + `]}`, nil},
		{"remove", `{"event":"sync.user.delta","data":{"action":"remove","users":[{"id":2},{"id":"3"}]}}`, event{name: eventDelta, action: "remove"}, "", []int64{2, 3}},
		{"remove nobody", `{"event":"sync.user.delta","data":{"action":"remove","users":[{}]}}`, event{name: eventDelta, action: "remove"}, "", nil},
		{"unknown action", `{"event":"sync.user.delta","data":{"action":"x","users":[{"id":2}]}}`, event{name: eventDelta, action: "x"}, "", nil},
		{"data of another kind", `{"event":"x","data":5}`, event{name: "x"}, "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := parseEvent([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if e.name != tt.want.name || e.node != tt.want.node || e.action != tt.want.action {
				t.Errorf("%+v, want %+v", e, tt.want)
			}
			d := e.delta()
			switch {
			case d == nil && (tt.changed != "" || tt.removed != nil):
				t.Error("no delta")
			case d != nil && (string(d.Changed) != tt.changed || !slices.Equal(d.Removed, tt.removed)):
				t.Errorf("delta = %s, %v", d.Changed, d.Removed)
			}
		})
	}
}

// FuzzParseEvent: whatever is told, a delta that adds is JSON.
func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(`{"event":"sync.user.delta","data":{"action":"add","users":[{"id":2,"uuid":"x"}],"node_id":1}}`))
	f.Add([]byte(`{"data":{"users":[]},"event":"ping"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := parseEvent(in)
		if err != nil || !json.Valid(in) {
			return // the reader skips what it does not want, and is lenient there
		}
		if d := e.delta(); d != nil && d.Changed != nil && !json.Valid(d.Changed) {
			t.Errorf("%q", d.Changed)
		}
	})
}

// TestChanged: rows of a delta become accounts, and the next poll is a whole one.
func TestChanged(t *testing.T) {
	w := newWorld(t, 2)
	w.panel.SetUser(paneltest.User{ID: 1, UUID: uuid1})
	if _, err := w.Users(ctxOf(t)); err != nil {
		t.Fatal(err)
	}
	got, err := w.Changed(panel.Delta{Changed: []byte(`{"users":[{"id":5,"uuid":"` + uuid1 + `","speed_limit":8,"device_limit":2}]}`)})
	if err != nil || len(got) != 1 || got[0].ID != 5 || got[0].SpeedBytes != 1_000_000 || got[0].IPLimit != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := w.Users(ctxOf(t)); err != nil {
		t.Errorf("the poll after: %v, want the whole set", err)
	}
	for _, bad := range []string{`{"users":[{"id":5}]}`, `{"users":[{"id":5,"uuid":"` + strings.Repeat("x", 5000) + `"},{"id":5,"uuid":"` + uuid1 + `"}]}`, `[`} {
		if got, err := w.Changed(panel.Delta{Changed: []byte(bad)}); err == nil {
			t.Errorf("%s: %+v", bad, got)
		}
	}
	if got, err := w.Changed(panel.Delta{Removed: []int64{5}}); err != nil || got != nil {
		t.Errorf("%v, %v", got, err)
	}
}

package xboard

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	jsoniter "github.com/json-iterator/go"

	"heki/option"
	"heki/panel"
	"heki/panel/machine"
	"heki/panel/phpjson"
	"heki/panel/uniproxy"
	"heki/panel/webapi"
)

// Names of a machine's calls in errors and logs.
const (
	callNodes   = "get nodes"
	callMachine = "report machine"
)

// Machine is one machine of an XBoard, which gives it its nodes. It implements panel.Machine.
// Source: reference/panels.md §6.7.
type Machine struct {
	call *webapi.Caller
	id   int64
	key  string
	say  func(level slog.Level, format string, args ...any)
}

// NewMachine makes the client of one machine. It does not use the network.
func NewMachine(env panel.Env, o *option.Panel) (*Machine, error) {
	call, err := webapi.New(env, o.URL, o.Key)
	if err != nil {
		return nil, err
	}
	return &Machine{call: call, id: o.MachineID, key: o.Key, say: env.Say}, nil
}

// Nodes implements panel.Machine.
func (m *Machine) Nodes(ctx context.Context) (*panel.MachineNodes, error) {
	body, err := json.Marshal(m.who())
	if err != nil {
		return nil, err
	}
	a, err := m.call.Post(ctx, callNodes, pathV2+"machine/nodes", nil, body)
	if err != nil {
		return nil, explain(err)
	}
	nodes, skipped, err := parseNodes(a.Body)
	if err != nil {
		return nil, uniproxy.Unusable(callNodes, a.Body, err)
	}
	for _, s := range skipped {
		m.say(slog.LevelWarn, "node skipped: %s", s)
	}
	return nodes, nil
}

// who are we: what every call of a machine starts with.
func (m *Machine) who() map[string]any {
	return map[string]any{"machine_id": m.id, "token": m.key}
}

// explain adds to a refusal what may be done about it.
func explain(err error) error {
	var e *panel.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Status {
	case http.StatusForbidden, http.StatusUnauthorized:
		e.Err = fmt.Errorf("%w; machine_id must be the machine's number, key its own token (not the panel's), and the machine must be enabled", e.Err)
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		e.Err = fmt.Errorf("%w; XBoard has machines since April 2026: before, leave machine_id out, list nodes, and give the panel's token as key", e.Err)
	}
	return err
}

// parseNodes reads {"nodes":[{"id":1,"type":"vless","name":"x"}],"base_config":{…}}. Rows that cannot be
// nodes are named in skipped.
func parseNodes(body []byte) (nodes *panel.MachineNodes, skipped []string, err error) {
	nodes = new(panel.MachineNodes)
	seen := make(map[int64]bool)
	found := false
	row := func(it *jsoniter.Iterator) {
		var n panel.MachineNode
		phpjson.Object(it, func(name string) bool {
			switch name {
			case "id":
				n.ID = phpjson.Int(it)
			case "type":
				n.Type = phpjson.Text(it)
			case "name":
				n.Name = phpjson.Text(it)
			default:
				it.Skip()
			}
			return true
		})
		switch {
		case it.Error != nil:
		case n.ID <= 0:
			skipped = append(skipped, fmt.Sprintf("%.64q has no id", n.Name))
		case seen[n.ID]:
			skipped = append(skipped, fmt.Sprintf("%d stands twice", n.ID))
		case len(nodes.Nodes) == panel.MaxNodes:
			phpjson.Fail(it, "has more than %d nodes", panel.MaxNodes)
		default:
			seen[n.ID] = true
			nodes.Nodes = append(nodes.Nodes, n)
		}
	}
	err = phpjson.Decode(body, func(it *jsoniter.Iterator) {
		phpjson.Object(it, func(name string) bool {
			switch name {
			case "nodes":
				found = it.WhatIsNext() == jsoniter.ArrayValue || it.WhatIsNext() == jsoniter.ObjectValue
				phpjson.List(it, func() { row(it) })
			case "base_config":
				nodes.Push, nodes.Pull = intervals(it)
			default:
				it.Skip()
			}
			return true
		})
	})
	if err == nil && !found {
		err = errors.New("nodes is missing")
	}
	return nodes, skipped, err
}

// intervals reads base_config; 0 is none.
func intervals(it *jsoniter.Iterator) (push, pull time.Duration) {
	phpjson.Object(it, func(name string) bool {
		switch name {
		case "push_interval":
			push = uniproxy.Seconds(phpjson.Float(it))
		case "pull_interval":
			pull = uniproxy.Seconds(phpjson.Float(it))
		default:
			it.Skip()
		}
		return true
	})
	return push, pull
}

// ReportMachine implements panel.Machine.
func (m *Machine) ReportMachine(ctx context.Context, s machine.State) error {
	type usage struct {
		Total uint64 `json:"total"`
		Used  uint64 `json:"used"`
	}
	all := m.who()
	all["cpu"] = s.CPU
	all["mem"], all["swap"], all["disk"] = usage(s.Memory), usage(s.Swap), usage(s.Disk)
	all["net"] = map[string]int64{"in_speed": int64(s.Net.In), "out_speed": int64(s.Net.Out)}
	body, err := json.Marshal(all)
	if err != nil {
		return err
	}
	a, err := m.call.Post(ctx, callMachine, pathV2+"machine/status", nil, body)
	if err != nil {
		return explain(err)
	}
	return uniproxy.Settled(callMachine, a)
}

// Watch implements panel.Watcher: one WebSocket tells of all nodes of the machine.
func (m *Machine) Watch(ctx context.Context, tell func(panel.News)) error {
	p := pusher{call: m.call, say: m.say, query: url.Values{"machine_id": {fmt.Sprint(m.id)}, "token": {m.key}}}
	return p.watch(ctx, func(e *event) {
		if e.node > 0 || e.name == eventNodes || e.name == "auth.success" {
			tell(panel.News{Node: e.node, Users: e.delta()})
		}
	})
}

var _ panel.Machine = (*Machine)(nil)

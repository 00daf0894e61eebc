package paneltest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
)

// Machine is one row of XBoard's machine table. Its nodes are those whose Node.Machine is its ID.
type Machine struct {
	ID       int
	Token    string
	Disabled bool
}

// MachineStatus is what a machine told of itself, the last time.
type MachineStatus struct {
	Reports           int
	CPU               float64
	MemTotal          int64
	InSpeed, OutSpeed float64
}

// SetMachine adds the machine or changes its row.
func (p *Panel) SetMachine(m Machine) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.machines == nil {
		p.machines = make(map[int]Machine)
	}
	p.machines[m.ID] = m
}

// MachineStatus returns what the machine told of itself.
func (p *Panel) MachineStatus(id int) MachineStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.machineStatus[id]
}

// machineOf reads who asks from the query and the body, as the framework does.
func machineOf(r *http.Request, body []byte) (id, token string, fields map[string]json.RawMessage) {
	_ = json.Unmarshal(body, &fields)
	in := func(name string) string {
		if raw, ok := fields[name]; ok {
			var text string
			if json.Unmarshal(raw, &text) == nil {
				return text
			}
			return string(raw)
		}
		return r.URL.Query().Get(name)
	}
	return in("machine_id"), in("token"), fields
}

// machineCall answers machine/nodes and machine/status.
func (p *Panel) machineCall(call Call, r *http.Request, body []byte) *answer {
	text, token, fields := machineOf(r, body)
	id, err := strconv.Atoi(text)
	if err != nil {
		return invalid("machine_id", "The machine id field is required.")
	}
	var status MachineStatus
	if call == MachineStatusCall && !status.read(fields) {
		return invalid("cpu", "The cpu field is required.")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	m, ok := p.machines[id]
	if !ok || m.Token != token || m.Disabled {
		return &answer{status: http.StatusForbidden, body: php(map[string]string{"message": "Machine not found or disabled"})}
	}
	if call == MachineStatusCall {
		if p.machineStatus == nil {
			p.machineStatus = make(map[int]MachineStatus)
		}
		status.Reports = p.machineStatus[id].Reports + 1
		p.machineStatus[id] = status
		return plain(map[string]bool{"data": true})
	}
	return plain(map[string]any{"nodes": p.rowsLocked(id), "base_config": baseConfig{Push: 60, Pull: 60}})
}

// read takes the values that the panel wants; false when one is missing.
func (s *MachineStatus) read(fields map[string]json.RawMessage) bool {
	var mem struct{ Total, Used *int64 }
	var net struct {
		In  float64 `json:"in_speed"`
		Out float64 `json:"out_speed"`
	}
	if json.Unmarshal(fields["cpu"], &s.CPU) != nil || json.Unmarshal(fields["mem"], &mem) != nil || mem.Total == nil || mem.Used == nil {
		return false
	}
	if raw, ok := fields["net"]; ok && json.Unmarshal(raw, &net) != nil {
		return false
	}
	s.MemTotal, s.InSpeed, s.OutSpeed = *mem.Total, net.In, net.Out
	return true
}

type machineRow struct {
	ID   int    `json:"id"`
	Type string `json:"type"`
	Name string `json:"name"`
}

// rowsLocked are the machine's nodes that are enabled.
func (p *Panel) rowsLocked(machine int) []machineRow {
	rows := []machineRow{}
	for _, n := range p.nodes {
		if n.row.Machine == machine && !n.row.Disabled {
			rows = append(rows, machineRow{n.row.ID, n.row.Protocol, n.row.Name})
		}
	}
	slices.SortFunc(rows, func(a, b machineRow) int { return a.ID - b.ID })
	return rows
}

// asMachineLocked finds the node that a machine asks about; the answer says no.
func (p *Panel) asMachineLocked(text, token, nodeID string, optional bool) (*node, *answer) {
	id, err := strconv.Atoi(text)
	if err != nil {
		return nil, invalid("machine_id", "The machine id field must be an integer.")
	}
	number, err := strconv.Atoi(nodeID)
	if err != nil && !optional {
		return nil, invalid("node_id", "The node id field is required.")
	}
	m, ok := p.machines[id]
	switch {
	case !ok || m.Token != token:
		return nil, failed(http.StatusUnauthorized, "Machine not found or invalid token")
	case m.Disabled:
		return nil, failed(http.StatusForbidden, "Machine is disabled")
	}
	n := p.nodes[number]
	if number > 0 && (n == nil || n.row.Machine != id || n.row.Disabled) {
		return nil, failed(http.StatusBadRequest, "Node not found on this machine")
	}
	return n, nil
}

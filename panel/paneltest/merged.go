package paneltest

import (
	"encoding/json"
	"maps"
	"net/http"
)

// DisableReport makes the panel one without the merged report.
func (p *Panel) DisableReport() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noReport = true
}

// Conns returns how many connections of the user the node last reported.
func (p *Panel) Conns(nodeID, userID int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.nodes[nodeID]; n != nil {
		return n.conns[userID]
	}
	return 0
}

// Metrics returns the figures that the node last reported.
func (p *Panel) Metrics(nodeID int) map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.nodes[nodeID]; n != nil {
		return maps.Clone(n.metrics)
	}
	return nil
}

// reportLocked is version 2's merged report.
func (p *Panel) reportLocked(n *node, body []byte, fault string) *answer {
	var parts struct {
		Traffic json.RawMessage `json:"traffic"`
		Alive   json.RawMessage `json:"alive"`
		Online  map[int]int     `json:"online"`
		Status  json.RawMessage `json:"status"`
		Metrics map[string]any  `json:"metrics"`
	}
	if json.Unmarshal(body, &parts) == nil {
		if rows, ok := phpArray(parts.Traffic); ok {
			p.bookLocked(n, rows, fault)
		}
		if rows, ok := phpArray(parts.Alive); ok {
			p.seenLocked(n, rows)
		}
		for id, conns := range parts.Online {
			if n.conns == nil {
				n.conns = make(map[int]int)
			}
			n.conns[id] = conns
		}
		if len(parts.Status) > 0 && statusAnswer(parts.Status).status == http.StatusOK {
			p.loads[n.row.ID]++
		}
		if len(parts.Metrics) > 0 {
			n.metrics = parts.Metrics
		}
	}
	n.checked = p.now()
	return plain(map[string]bool{"data": true})
}

package paneltest

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// done is the answer to a push. The message is Chinese for "operation succeeded".
func done() *answer {
	return plain(envelope{Status: "success", Message: "操作成功", Data: true})
}

// pushLocked books a traffic report. Entries that are not exactly two numbers are dropped; a push
// with nothing valid is ignored, and both are a success.
func (p *Panel) pushLocked(n *node, body []byte, fault string) *answer {
	rows, ok := phpArray(body)
	if !ok {
		return failed(http.StatusUnprocessableEntity, "Invalid data format")
	}
	p.bookLocked(n, rows, fault)
	return done()
}

func (p *Panel) bookLocked(n *node, rows map[string]json.RawMessage, fault string) {
	push := Push{Node: n.row.ID, Time: p.now(), Users: make(map[int]Traffic), Fault: fault}
	for key, raw := range rows {
		id, err := strconv.Atoi(key)
		var pair []json.Number
		if err != nil || json.Unmarshal(raw, &pair) != nil || len(pair) != 2 {
			continue
		}
		up, err1 := pair[0].Int64()
		down, err2 := pair[1].Int64()
		if err1 != nil || err2 != nil {
			continue
		}
		push.Users[id] = Traffic{up, down}
		sum := n.traffic[id]
		n.traffic[id] = Traffic{sum.Up + up, sum.Down + down}
	}
	if len(push.Users) > 0 {
		n.pushed = push.Time
		p.pushes = append(p.pushes, push)
	}
}

// aliveLocked books an address report: a user's entry replaces what this node said of it before.
func (p *Panel) aliveLocked(n *node, body []byte) *answer {
	rows, ok := phpArray(body)
	if !ok {
		return &answer{status: http.StatusBadRequest, body: php(map[string]string{"error": "Invalid online data"})}
	}
	p.seenLocked(n, rows)
	return plain(map[string]bool{"data": true})
}

func (p *Panel) seenLocked(n *node, rows map[string]json.RawMessage) {
	for key, raw := range rows {
		id, err := strconv.Atoi(key)
		var list []string
		if err != nil || json.Unmarshal(raw, &list) != nil {
			continue
		}
		var ips []string
		for _, text := range list {
			ips = append(ips, bareIP(text))
		}
		slices.Sort(ips)
		n.alive[id] = aliveSet{ips: slices.Compact(ips), at: p.now()}
	}
}

// bareIP strips a port: 192.0.2.1:80, [2001:db8::1]:443.
func bareIP(text string) string {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	text = strings.Trim(text, "[]")
	if ip, err := netip.ParseAddr(text); err == nil {
		return ip.String()
	}
	return text
}

// aliveListLocked counts the distinct addresses of the node's limited users over all nodes.
func (p *Panel) aliveListLocked(n *node) *answer {
	counts := make(map[string]int)
	for id, u := range p.users {
		if u.DeviceLimit == 0 || len(u.Nodes) > 0 && !slices.Contains(u.Nodes, n.row.ID) {
			continue
		}
		ips := make(map[string]struct{})
		for _, other := range p.nodes {
			if set := other.alive[id]; p.now().Sub(set.at) <= aliveTTL {
				for _, ip := range set.ips {
					ips[ip] = struct{}{}
				}
			}
		}
		if len(ips) > 0 {
			counts[strconv.Itoa(id)] = len(ips)
		}
	}
	if len(counts) == 0 {
		return plain(map[string]any{"alive": []int{}}) // PHP cannot tell an empty map from a list
	}
	return plain(map[string]any{"alive": counts})
}

// statusAnswer checks the seven values that the panel wants.
func statusAnswer(body []byte) *answer {
	type pair struct {
		Total *int64 `json:"total"`
		Used  *int64 `json:"used"`
	}
	var s struct {
		CPU             *float64 `json:"cpu"`
		Mem, Swap, Disk pair
	}
	if json.Unmarshal(body, &s) != nil || s.CPU == nil || *s.CPU < 0 || *s.CPU > 100 {
		return invalid("cpu", "The cpu field is required.")
	}
	for name, v := range map[string]pair{"mem": s.Mem, "swap": s.Swap, "disk": s.Disk} {
		if v.Total == nil || v.Used == nil {
			return invalid(name+".total", "The "+name+".total field is required.")
		}
	}
	return plain(struct {
		Data    bool   `json:"data"`
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{true, 0, "success"})
}

// phpArray reads a body as PHP's json_decode to an array does: an object, or a list by position.
func phpArray(body []byte) (map[string]json.RawMessage, bool) {
	var rows map[string]json.RawMessage
	if json.Unmarshal(body, &rows) == nil && rows != nil {
		return rows, true
	}
	var list []json.RawMessage
	if json.Unmarshal(body, &list) != nil || list == nil {
		return nil, false
	}
	rows = make(map[string]json.RawMessage, len(list))
	for i, raw := range list {
		rows[strconv.Itoa(i)] = raw
	}
	return rows, true
}

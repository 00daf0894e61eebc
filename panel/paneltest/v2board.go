package paneltest

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// v2board is v2board 1.7.4 or, with more types and calls, xiaov2board.
type v2board struct {
	laravel
	xiao bool
}

// call: a class and an action stand in the path, so any method will do.
func (d v2board) call(_ *Panel, path string) (Call, string, bool) {
	if d.xiao && path == pathV2+"config" {
		return Config, "", true
	}
	name, v1 := strings.CutPrefix(path, pathV1)
	return Call(name), "", v1 && name != ""
}

// failed500 is Laravel's exception renderer, the way v2board says no.
func failed500(text string) *answer {
	body, err := json.MarshalIndent(map[string]string{"message": text}, "", "    ")
	if err != nil {
		panic(err) // a string
	}
	return &answer{status: http.StatusInternalServerError, body: body}
}

// types are the names of node_type, and what they stand for.
func (d v2board) types() map[string]string {
	if !d.xiao {
		return map[string]string{"v2ray": "vmess", "vmess": "vmess", "trojan": "trojan", "shadowsocks": "shadowsocks", "hysteria": "hysteria"}
	}
	return map[string]string{
		"v2ray": "vmess", "vmess": "vmess", "vless": "vless", "trojan": "trojan", "shadowsocks": "shadowsocks",
		"hysteria2": "hysteria2", "hysteria": "hysteria2", "tuic": "tuic", "anytls": "anytls", "v2node": "",
	}
}

func (d v2board) serve(p *Panel, call Call, r *http.Request, body []byte, fault string) *answer {
	q := r.URL.Query()
	v2 := strings.HasPrefix(r.URL.Path, pathV2)
	no := failed500
	if v2 {
		no = func(text string) *answer {
			return &answer{status: http.StatusOK, body: php(map[string]string{"status": "fail", "message": text})}
		}
	}
	switch q.Get("token") {
	case "":
		return no("token is null")
	case p.token:
	default:
		return no("token is error")
	}
	kind, known := d.types()[q.Get("node_type")]
	p.mu.Lock()
	defer p.mu.Unlock()
	known = known && (p.refused == "" || q.Get("node_type") != p.refused)
	n := p.tableLocked(q.Get("node_id"), kind)
	switch {
	case !v2 && !known || n == nil:
		return no("server is not exist")
	case call == Config:
		return d.config(n, v2)
	case call == Users:
		return d.users(p, n)
	case call == PushCall:
		rows, _ := phpArray(body) // what is no JSON is an empty list
		p.bookLocked(n, rows, fault)
		n.pushed = p.now()
		return plain(map[string]bool{"data": true})
	case call == AliveCall && d.xiao:
		if rows, ok := phpArray(body); ok {
			p.seenLocked(n, rows)
		}
		return plain(map[string]bool{"data": true})
	case call == AliveList && d.xiao:
		return p.aliveListLocked(n)
	}
	return failed500("Uh-oh, we've had some problems, we're working on it.")
}

// tableLocked finds a node by its number in the table of its type; an empty kind is v2node's own table.
func (p *Panel) tableLocked(text, kind string) *node {
	for _, id := range slices.Sorted(maps.Keys(p.nodes)) {
		n := p.nodes[id]
		number := strconv.Itoa(n.row.ID)
		if kind != "" {
			number = cmp.Or(n.row.Code, number)
		}
		if number == text && (kind == "" || n.row.Protocol == kind) {
			return n
		}
	}
	return nil
}

// users answers user. xiaov2board leaves out what is null.
func (d v2board) users(p *Panel, n *node) *answer {
	type row struct {
		ID          int    `json:"id"`
		UUID        string `json:"uuid"`
		SpeedLimit  *int   `json:"speed_limit"`
		DeviceLimit *int   `json:"device_limit,omitempty"`
	}
	type xiaoRow struct {
		ID          int    `json:"id"`
		UUID        string `json:"uuid"`
		SpeedLimit  *int   `json:"speed_limit,omitempty"`
		DeviceLimit *int   `json:"device_limit,omitempty"`
	}
	n.checked = p.now()
	rows := []any{}
	for _, id := range slices.Sorted(maps.Keys(p.users)) {
		u := p.users[id]
		switch {
		case len(u.Nodes) > 0 && !slices.Contains(u.Nodes, n.row.ID):
		case d.xiao:
			rows = append(rows, xiaoRow{u.ID, u.UUID, null(u.SpeedMbps), null(u.DeviceLimit)})
		default:
			rows = append(rows, row{ID: u.ID, UUID: u.UUID, SpeedLimit: null(u.SpeedMbps)})
		}
	}
	body := php(map[string]any{"users": rows})
	return &answer{status: http.StatusOK, body: body, etag: etagOf(body)}
}

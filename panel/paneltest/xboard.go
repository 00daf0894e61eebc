package paneltest

import (
	"net/http"
	"slices"
	"strings"
)

// Where the versions have their calls.
const (
	pathV1 = "/api/v1/server/UniProxy/"
	pathV2 = "/api/v2/server/"
)

// nodeTypes are the names version 1 takes as node_type and what they stand for.
var nodeTypes = map[string]string{
	"v2ray": "vmess", "vmess": "vmess", "vless": "vless", "trojan": "trojan", "shadowsocks": "shadowsocks",
	"hysteria": "hysteria", "hysteria2": "hysteria", "tuic": "tuic", "anytls": "anytls", "socks": "socks",
	"naive": "naive", "http": "http", "mieru": "mieru", "v2node": "",
}

// verbs are the calls of both versions and how they are made; handshake and report are version 2's.
var verbs = map[Call]string{
	Config: "GET", Users: "GET", AliveList: "GET", PushCall: "POST", AliveCall: "POST", Status: "POST",
	Report: "POST", Handshake: "GET, POST", MachineNodes: "POST", MachineStatusCall: "POST",
}

// xboard is XBoard.
type xboard struct{ laravel }

func (xboard) call(p *Panel, path string) (Call, string, bool) {
	name, v1 := strings.CutPrefix(path, pathV1)
	v2 := false
	if !v1 {
		name, v2 = strings.CutPrefix(path, pathV2)
	}
	verb, known := verbs[Call(name)]
	newer := slices.Contains([]Call{Report, Handshake, MachineNodes, MachineStatusCall}, Call(name))
	if v2 && p.noV2 || v1 && newer || !v1 && !v2 || p.noReport && Call(name) == Report {
		known = false
	}
	return Call(name), verb, known
}

// serve checks who asks and acts on the call.
func (xboard) serve(p *Panel, call Call, r *http.Request, body []byte, fault string) *answer {
	v1 := strings.HasPrefix(r.URL.Path, pathV1)
	q := r.URL.Query()
	switch {
	case call == MachineNodes || call == MachineStatusCall:
		return p.machineCall(call, r, body)
	case q.Get("machine_id") != "" && !v1:
		p.mu.Lock()
		defer p.mu.Unlock()
		n, no := p.asMachineLocked(q.Get("machine_id"), q.Get("token"), q.Get("node_id"), call == Handshake)
		if no != nil {
			return no
		}
		return p.nodeCallLocked(n, call, body, fault)
	case q.Get("token") == "" && q.Get("node_id") == "" && call != Handshake:
		return unprocessable("The token field is required. (and 1 more error)", map[string][]string{
			"token": {"The token field is required."}, "node_id": {"The node id field is required."},
		})
	case q.Get("token") == "":
		return invalid("token", "The token field is required.")
	case q.Get("token") != p.token:
		return invalid("token", "Invalid token")
	case call == Handshake && q.Get("node_id") == "":
		return p.handshake()
	case q.Get("node_id") == "":
		return invalid("node_id", "The node id field is required.")
	}
	kind := ""
	if text := q.Get("node_type"); text != "" && v1 {
		var ok bool
		if kind, ok = nodeTypes[text]; !ok {
			if kind, ok = nodeTypes[strings.ToLower(text)]; !ok || text[0] >= 'A' && text[0] <= 'Z' && kind != strings.ToLower(text) {
				return invalid("node_type", "Invalid node type specified")
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.findLocked(q.Get("node_id"), kind)
	if n == nil {
		return failed(http.StatusBadRequest, "Server does not exist")
	}
	return p.nodeCallLocked(n, call, body, fault)
}

// nodeCallLocked acts on the call of a node that may make it.
func (p *Panel) nodeCallLocked(n *node, call Call, body []byte, fault string) *answer {
	switch call {
	case Config:
		return p.configLocked(n)
	case Users:
		return p.usersLocked(n)
	case PushCall:
		return p.pushLocked(n, body, fault)
	case AliveCall:
		return p.aliveLocked(n, body)
	case AliveList:
		return p.aliveListLocked(n)
	case Status:
		a := statusAnswer(body)
		if a.status == http.StatusOK {
			p.loads[n.row.ID]++
		}
		return a
	case Report:
		return p.reportLocked(n, body, fault)
	}
	return p.handshake()
}

// handshake tells where the WebSocket is. pushAt is set before nodes ask.
func (p *Panel) handshake() *answer {
	if p.pushAt == "" {
		return plain(map[string]any{"websocket": map[string]any{"enabled": false}})
	}
	return plain(map[string]any{"websocket": map[string]any{"enabled": true, "ws_url": p.pushAt}})
}

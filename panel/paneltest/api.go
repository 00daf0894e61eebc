package paneltest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
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
	Report: "POST", Handshake: "GET, POST",
}

// ServeHTTP implements http.Handler.
func (p *Panel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, v1 := strings.CutPrefix(r.URL.Path, "/api/v1/server/UniProxy/")
	v2 := false
	if !v1 {
		name, v2 = strings.CutPrefix(r.URL.Path, "/api/v2/server/")
	}
	call := Call(name)
	verb, known := verbs[call]
	p.mu.Lock()
	if v2 && p.noV2 || v1 && (call == Report || call == Handshake) || !v1 && !v2 {
		known = false
	}
	var fault Fault
	faulty := false
	if known {
		p.requests[call]++
		fault, faulty = p.nextFaultLocked(call)
	}
	gzip := p.gzip && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
	p.mu.Unlock()

	switch {
	case !known:
		sendJSON(w, http.StatusNotFound, php(map[string]string{"message": "The route " + strings.TrimPrefix(r.URL.Path, "/") + " could not be found."}))
		return
	case !strings.Contains(verb, r.Method):
		w.Header().Set("Allow", verb)
		sendJSON(w, http.StatusMethodNotAllowed, php(map[string]string{"message": "The " + r.Method + " method is not supported for route " + strings.TrimPrefix(r.URL.Path, "/") + ". Supported methods: " + verb + "."}))
		return
	}
	body, whole := readBody(r)
	if !whole { // cut on the way, or beyond post_max_size
		sendJSON(w, http.StatusRequestEntityTooLarge, php(map[string]string{"message": "The POST data is too large."}))
		return
	}
	var a *answer
	if !faulty || fault.apply {
		a = p.serve(call, r, v1, body, fault.name)
		a.call, a.match, a.gzip = call, r.Header.Get("If-None-Match"), gzip
	}
	if faulty {
		fault.do(p, w, r, a)
		return
	}
	a.send(w)
}

// serve checks who asks and acts on the call.
func (p *Panel) serve(call Call, r *http.Request, v1 bool, body []byte, fault string) *answer {
	q := r.URL.Query()
	switch {
	case q.Get("token") == "" && q.Get("node_id") == "" && call != Handshake:
		return unprocessable("The token field is required. (and 1 more error)", map[string][]string{
			"token": {"The token field is required."}, "node_id": {"The node id field is required."},
		})
	case q.Get("token") == "":
		return invalid("token", "The token field is required.")
	case q.Get("token") != p.token:
		return invalid("token", "Invalid token")
	case call == Handshake && q.Get("node_id") == "":
		return plain(map[string]any{"websocket": map[string]any{"enabled": false}})
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
		return statusAnswer(body)
	case Report:
		return p.reportLocked(n, body, fault)
	}
	return plain(map[string]any{"websocket": map[string]any{"enabled": false}})
}

type userRow struct {
	ID          int    `json:"id"`
	UUID        string `json:"uuid"`
	SpeedLimit  *int   `json:"speed_limit"`
	DeviceLimit *int   `json:"device_limit"`
}

// usersLocked answers user and counts as the node's sign of life, also when it ends in 304.
func (p *Panel) usersLocked(n *node) *answer {
	n.checked = p.now()
	if n.gen != p.usersGen {
		rows := make([]userRow, 0, len(p.users))
		for _, id := range slices.Sorted(maps.Keys(p.users)) {
			u := p.users[id]
			if len(u.Nodes) > 0 && !slices.Contains(u.Nodes, n.row.ID) {
				continue
			}
			rows = append(rows, userRow{u.ID, u.UUID, null(u.SpeedMbps), null(u.DeviceLimit)})
		}
		n.body, n.gen = php(map[string]any{"users": rows}), p.usersGen
	}
	return &answer{status: http.StatusOK, body: n.body, etag: etagOf(n.body)}
}

func null(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

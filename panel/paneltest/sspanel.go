package paneltest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// sspanel is SSPanel-UIM: the one of today, or, legacy, the one of 2021 with its addresses, its SSR columns
// and failures that come with status 200.
type sspanel struct{ legacy bool }

// The calls that other panels do not have.
const (
	Ping      Call = "ping"
	Rules     Call = "detect_rules"
	DetectLog Call = "detectlog"
)

func (d sspanel) call(_ *Panel, path string) (Call, string, bool) {
	rest, ok := strings.CutPrefix(path, "/mod_mu/")
	switch {
	case !ok:
		return "", "", false
	case strings.HasPrefix(rest, "nodes/") && strings.HasSuffix(rest, "/info"):
		if d.legacy {
			return Config, "GET, POST", true
		}
		return Config, "GET", true
	}
	switch rest {
	case "users":
		return Users, "GET", true
	case "users/traffic":
		return PushCall, "POST", true
	case "users/aliveip":
		return AliveCall, "POST", true
	case "users/detectlog":
		return DetectLog, "POST", true
	case "func/detect_rules":
		return Rules, "GET", true
	case "func/ping":
		return Ping, "GET", true
	}
	return "", "", false
}

// stray: Slim answers in HTML.
func (sspanel) stray(w http.ResponseWriter, _ *http.Request, verb string) {
	if verb == "" {
		html(w, http.StatusNotFound, "404 Not Found")
		return
	}
	w.Header().Set("Allow", verb)
	html(w, http.StatusMethodNotAllowed, "405 Method Not Allowed")
}

// ret is the panel's envelope.
type ret struct {
	Ret  int    `json:"ret"`
	Data any    `json:"data,omitempty"`
	Msg  string `json:"msg,omitempty"`
}

// no is a failure of the panel's own; modern panels put the text in msg.
func (d sspanel) no(text string) *answer {
	if d.legacy {
		return &answer{status: http.StatusOK, body: php(map[string]any{"ret": 0, "data": text})}
	}
	return &answer{status: http.StatusOK, body: php(ret{Msg: text})}
}

func (d sspanel) yes() *answer {
	if d.legacy {
		return plain(map[string]any{"ret": 1, "data": "ok"})
	}
	return plain(ret{Ret: 1, Msg: "ok"})
}

// got is an answer with data and the era's validator.
func (d sspanel) got(data any) *answer {
	body := php(map[string]any{"data": data, "ret": 1})
	etag := etagOf(body)
	if d.legacy {
		etag = strings.Trim(etag, `"`)
	} else {
		etag = `W/"` + etag[1:17] + `"`
	}
	return &answer{status: http.StatusOK, body: body, etag: etag, whole: true}
}

func (d sspanel) serve(p *Panel, call Call, r *http.Request, body []byte, fault string) *answer {
	q := r.URL.Query()
	if q.Get("key") != p.token {
		if d.legacy {
			return d.no("Token is invalid.")
		}
		return &answer{status: http.StatusUnauthorized, body: php(ret{Msg: "Invalid request."})}
	}
	id := q.Get("node_id")
	if call == Config {
		id = strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/mod_mu/nodes/"), "/info")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch call {
	case Ping:
		return plain(ret{Ret: 1, Msg: "Pong? Pong!"})
	case Rules:
		return d.got(p.rules)
	}
	number, _ := strconv.Atoi(id)
	n := p.nodes[number]
	switch {
	case n == nil && d.legacy:
		return plain(map[string]int{"ret": 0})
	case n == nil:
		return d.no("Node not found.")
	case call == Config && r.Method == http.MethodPost:
		return d.load(p, n, body)
	case n.raw != "" && call == Config:
		return &answer{status: http.StatusOK, body: []byte(n.raw)}
	}
	switch call {
	case Config:
		return d.got(d.info(&n.row))
	case Users:
		return d.users(p, n)
	}
	var sent struct {
		Data []sspanelRow `json:"data"`
	}
	if json.Unmarshal(body, &sent) != nil || sent.Data == nil {
		return d.no("Invalid data.")
	}
	return d.report(p, n, call, sent.Data, fault)
}

// sspanelRow is one entry of any report.
type sspanelRow struct {
	User int    `json:"user_id"`
	Up   int64  `json:"u"`
	Down int64  `json:"d"`
	IP   string `json:"ip"`
	Rule int    `json:"list_id"`
}

// report books a report. Today's panel fails at a user who is gone, with those before already booked.
func (d sspanel) report(p *Panel, n *node, call Call, rows []sspanelRow, fault string) *answer {
	switch call {
	case PushCall:
		push := Push{Node: n.row.ID, Time: p.now(), Users: make(map[int]Traffic), Fault: fault}
		gone := false
		for _, row := range rows {
			if _, known := p.users[row.User]; !known {
				if gone = !d.legacy; gone {
					break
				}
				continue
			}
			sum := n.traffic[row.User]
			n.traffic[row.User] = Traffic{sum.Up + row.Up, sum.Down + row.Down}
			push.Users[row.User] = Traffic{row.Up, row.Down}
		}
		if gone {
			push.Fault += " user gone"
		}
		p.pushes = append(p.pushes, push)
		if gone {
			return &answer{status: http.StatusInternalServerError, body: []byte("<html><body>Slim Application Error</body></html>")}
		}
	case AliveCall:
		ips := make(map[int][]string)
		for _, row := range rows {
			if ip, err := netip.ParseAddr(row.IP); err == nil {
				ips[row.User] = append(ips[row.User], ip.String())
			}
		}
		for user, list := range ips {
			n.alive[user] = aliveSet{ips: list, at: p.now()}
		}
	case DetectLog:
		for _, row := range rows {
			p.hits = append(p.hits, Hit{Node: n.row.ID, User: row.User, Rule: row.Rule})
		}
	}
	return d.yes()
}

// load books an old panel's node load.
func (d sspanel) load(p *Panel, n *node, body []byte) *answer {
	var sent struct{ Uptime, Load string }
	if json.Unmarshal(body, &sent) != nil || len(strings.Fields(sent.Load)) != 3 || sent.Uptime == "" {
		return d.no("update failed")
	}
	p.loads[n.row.ID]++
	return d.yes()
}

// users answers users with the columns of the node's sort.
func (d sspanel) users(p *Panel, n *node) *answer {
	n.checked = p.now()
	if n.row.Closed != "" {
		return d.no(n.row.Closed)
	}
	rows := []object{}
	for _, id := range slices.Sorted(maps.Keys(p.users)) {
		u := p.users[id]
		if len(u.Nodes) > 0 && !slices.Contains(u.Nodes, n.row.ID) {
			continue
		}
		o := object{"id": u.ID, "node_speedlimit": u.SpeedMbps}
		if d.legacy {
			o["node_connector"] = u.DeviceLimit
			if u.Alive > 0 {
				o["alive_ip"] = strconv.Itoa(u.Alive)
			}
		}
		switch sortOf(&n.row) {
		case 11, 14:
			o["uuid"] = u.UUID
		case 1:
			o["passwd"] = u.Password
		default:
			o["passwd"], o["method"], o["port"] = u.Password, u.Method, u.Port
			if d.legacy {
				o["obfs"], o["obfs_param"], o["protocol"], o["protocol_param"], o["is_multi_user"] = u.Obfs, u.ObfsParam, u.Protocol, u.ProtocolParam, u.Carrier
			}
		}
		rows = append(rows, o)
	}
	return d.got(rows)
}

// sortOf is the panel's number of the node's kind.
func sortOf(row *Node) int {
	switch row.Protocol {
	case "vmess", "vless":
		return 11
	case "trojan":
		return 14
	case "shadowsocks":
		if strings.HasPrefix(row.Cipher, "2022-") {
			return 1
		}
	}
	return 0
}

// info is the answer about a node: custom_config today, an address once.
func (d sspanel) info(row *Node) object {
	o := object{"node_speedlimit": 0, "sort": sortOf(row), "server": "node.example.com", "custom_config": []int{}, "type": "SSPanel-UIM"}
	if d.legacy {
		o["node_group"], o["node_class"], o["traffic_rate"], o["mu_only"] = 0, 0, 1, row.MuOnly
		if o["sort"] != 0 {
			o["server"] = addressOf(row)
		}
		return o
	}
	o["version"] = "2025.1.0"
	custom := object{"offset_port_node": strconv.Itoa(row.Port), "offset_port_user": "443", "network": network(row), "host": row.ServerName, "security": "none"}
	switch {
	case row.TLS == 1:
		custom["security"] = "tls"
	case row.TLS == 2:
		custom["enable_reality"] = true
		custom["reality-opts"] = object{
			"dest": row.Dest + ":" + row.DestPort, "server_names": []string{row.ServerName}, "private_key": row.PrivateKey, "short_ids": []string{"", row.ShortID},
		}
	}
	if row.Path != "" {
		custom["path"] = row.Path
	}
	if row.ServiceName != "" {
		custom["servicename"] = row.ServiceName
	}
	if len(row.Paths) > 0 {
		custom["header"] = object{"type": "http", "request": object{"path": row.Paths, "headers": object{"Host": []string{row.Host}}}}
	}
	if row.Protocol == "vless" {
		custom["enable_vless"], custom["flow"] = "1", row.Flow
	}
	if row.Cipher != "" {
		custom = object{"offset_port_node": row.Port, "method": row.Cipher, "server_key": row.ServerKey}
	}
	if sortOf(row) != 0 {
		o["custom_config"] = custom
	}
	return o
}

// addressOf writes a node's address as administrators wrote it until 2021.
func addressOf(row *Node) string {
	if row.Protocol == "trojan" {
		text := fmt.Sprintf("node.example.com;port=443#%d|host=%s", row.Port, row.ServerName)
		if row.Network == "grpc" {
			text += "|grpc=1|servicename=" + row.ServiceName
		}
		return text
	}
	tls := ""
	if row.TLS == 1 {
		tls = "tls"
	}
	text := fmt.Sprintf("1.3.5.7;443;%d;%s;%s;path=%s|host=%s|inside_port=%d|servicename=%s", row.AlterID, network(row), tls, row.Path, row.ServerName, row.Port, row.ServiceName)
	if row.Protocol == "vless" {
		text += "|enable_vless=true"
	}
	return text
}

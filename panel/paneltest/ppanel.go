package paneltest

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// ppanel is PPanel: one number for a server, whose protocols are rows of their own here. Its answers are Go's,
// not PHP's, and failures come with status 200.
type ppanel struct{}

// NewPPanel returns an empty PPanel that takes key. A server's number is its rows' Code, or else the ID; rows
// of one number are the protocols of one server.
func NewPPanel(key string) *Panel { return speaking(ppanel{}, key) }

// Common is what all servers of a PPanel are told.
type Common struct {
	Threshold int64 // bytes; rows of traffic that have no more are dropped
	DNS       []CommonDNS
	Block     []string
	Outbounds []map[string]any
}

// CommonDNS is one entry of dns.
type CommonDNS struct {
	Proto   string   `json:"proto"`
	Address string   `json:"address"`
	Domains []string `json:"domains"`
}

// SetCommon sets what all servers of a PPanel are told.
func (p *Panel) SetCommon(c Common) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.common = c
}

// CodeFailure is PPanel's way to fail: status 200, and a code that is not.
func CodeFailure() Fault {
	return Fault{"code 500", false, func(_ *Panel, w http.ResponseWriter, _ *http.Request, _ *answer) {
		sendJSON(w, http.StatusOK, []byte(`{"code":500,"msg":"Internal Server Error"}`))
	}}
}

func (ppanel) call(_ *Panel, path string) (Call, string, bool) {
	if id, ok := strings.CutPrefix(path, "/v2/server/"); ok && id != "" {
		return Config, "GET", true
	}
	switch path {
	case "/v1/server/user":
		return Users, "GET", true
	case "/v1/server/push":
		return PushCall, "POST", true
	case "/v1/server/online":
		return AliveCall, "POST", true
	case "/v1/server/status":
		return Status, "POST", true
	}
	return "", "", false
}

// stray: gin knows a path with another method no better than one that is not there.
func (ppanel) stray(w http.ResponseWriter, _ *http.Request, _ string) {
	http.Error(w, "404 page not found", http.StatusNotFound)
}

// reply is the panel's envelope.
type reply struct {
	Code int    `json:"code"`
	Msg  string `json:"msg"`
	Data any    `json:"data,omitempty"`
}

// plainGo encodes v as the panel does.
func plainGo(v any) *answer {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own structs
	}
	return &answer{status: http.StatusOK, body: body}
}

// validated adds the panel's validator, which is bare and compared as a whole.
func validated(a *answer) *answer {
	sum := sha256.Sum256(a.body)
	a.etag, a.whole = hex.EncodeToString(sum[:]), true
	return a
}

func bareText(status int, text string) *answer { return &answer{status: status, body: []byte(text)} }

func (d ppanel) serve(p *Panel, call Call, r *http.Request, body []byte, fault string) *answer {
	q := r.URL.Query()
	good := q.Get("secret_key") == p.token
	p.mu.Lock()
	defer p.mu.Unlock()
	if call == Config {
		number := strings.TrimPrefix(r.URL.Path, "/v2/server/")
		switch _, err := strconv.Atoi(number); {
		case !good:
			return bareText(http.StatusUnauthorized, "Unauthorized")
		case err != nil:
			return bareText(http.StatusBadRequest, "Invalid Params")
		}
		return d.server(p, number)
	}
	if !good {
		return bareText(http.StatusForbidden, "Forbidden")
	}
	n := d.row(p, q.Get("server_id"), q.Get("protocol"))
	switch {
	case n == nil && call == Users:
		return bareText(http.StatusNotFound, "Not Found")
	case n == nil:
		return plainGo(reply{Code: 500, Msg: "server not found"})
	case call == Users:
		return d.users(p, n)
	}
	if text := d.take(p, n, call, body, fault); text != "" {
		return plainGo(reply{Code: 400, Msg: text})
	}
	return plainGo(reply{Code: 200, Msg: "success"})
}

// take books a report, or says what is wrong with it.
func (d ppanel) take(p *Panel, n *node, call Call, body []byte, fault string) string {
	var sent struct {
		Traffic []struct{ UID, Upload, Download int64 }
		Users   []struct {
			UID int64
			IP  string
		}
		CPU, Mem, Disk *float64
		UpdatedAt      int64 `json:"updated_at"`
	}
	if json.Unmarshal(body, &sent) != nil {
		return "invalid request parameters"
	}
	rows := make(map[string]json.RawMessage)
	switch call {
	case PushCall:
		for _, t := range sent.Traffic {
			if t.Upload+t.Download > p.common.Threshold {
				rows[strconv.FormatInt(t.UID, 10)] = fmt.Appendf(nil, "[%d,%d]", t.Upload, t.Download)
			}
		}
		p.bookLocked(n, rows, fault)
	case AliveCall:
		ips := make(map[string][]string)
		for _, u := range sent.Users {
			if u.UID <= 0 || u.IP == "" {
				return "invalid user data"
			}
			id := strconv.FormatInt(u.UID, 10)
			ips[id] = append(ips[id], u.IP)
		}
		if len(ips) == 0 {
			return "invalid request parameters"
		}
		for id, list := range ips {
			rows[id], _ = json.Marshal(list)
		}
		p.seenLocked(n, rows)
	case Status:
		if sent.CPU == nil || sent.Mem == nil || sent.Disk == nil || sent.UpdatedAt < 1e12 {
			return "invalid request parameters"
		}
		p.loads[n.row.ID]++
	}
	return ""
}

// word is the panel's name of a protocol.
func (ppanel) word(row *Node) string {
	if row.Protocol == "hysteria2" {
		return "hysteria"
	}
	return row.Protocol
}

// rows are those of a server, by id.
func (ppanel) rows(p *Panel, number string) (all []*node) {
	for _, id := range slices.Sorted(maps.Keys(p.nodes)) {
		if n := p.nodes[id]; cmp.Or(n.row.Code, strconv.Itoa(id)) == number {
			all = append(all, n)
		}
	}
	return all
}

func (d ppanel) row(p *Panel, number, word string) *node {
	for _, n := range d.rows(p, number) {
		if n.raw != "" || d.word(&n.row) == word {
			return n
		}
	}
	return nil
}

// users answers user. A list of nobody has a user who was made up.
func (d ppanel) users(p *Panel, n *node) *answer {
	type row struct {
		ID          int    `json:"id"`
		UUID        string `json:"uuid"`
		SpeedLimit  int    `json:"speed_limit"`
		DeviceLimit int    `json:"device_limit"`
	}
	n.checked = p.now()
	var rows []row
	for _, id := range slices.Sorted(maps.Keys(p.users)) {
		if u := p.users[id]; len(u.Nodes) == 0 || slices.Contains(u.Nodes, n.row.ID) {
			rows = append(rows, row{u.ID, u.UUID, u.SpeedMbps, u.DeviceLimit})
		}
	}
	if len(rows) == 0 {
		h := sha256.Sum256([]byte(p.token + strconv.Itoa(n.row.ID) + d.word(&n.row)))
		h[6], h[8] = h[6]&0x0f|0x50, h[8]&0x3f|0x80
		rows = []row{{ID: 1, UUID: fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])}}
	}
	return validated(plainGo(map[string]any{"users": rows}))
}

// server answers the settings of all protocols.
func (d ppanel) server(p *Panel, number string) *answer {
	rows := d.rows(p, number)
	if len(rows) == 0 {
		return plainGo(reply{Code: 10001, Msg: "Database query error"})
	}
	if raw := rows[0].raw; raw != "" {
		return validated(&answer{status: http.StatusOK, body: []byte(raw)})
	}
	push, pull := 60, 60
	protocols := []object{}
	for _, n := range rows {
		push, pull = cmp.Or(n.row.Push, push), cmp.Or(n.row.Pull, pull)
		if !n.row.Disabled {
			protocols = append(protocols, d.protocol(&n.row))
		}
	}
	return validated(plainGo(reply{Code: 200, Msg: "success", Data: object{
		"traffic_report_threshold": p.common.Threshold, "push_interval": push, "pull_interval": pull, "ip_strategy": "prefer_ipv4",
		"dns": p.common.DNS, "block": p.common.Block, "outbound": p.common.Outbounds,
		"protocols": protocols, "total": len(protocols),
	}}))
}

// protocol is one of protocols; what is empty is left out.
func (d ppanel) protocol(row *Node) object {
	o := object{
		"type": d.word(row), "port": row.Port, "enable": true, "ratio": 1, "sni": row.ServerName,
		"security": []string{"none", "tls", "reality"}[row.TLS],
		"flow":     row.Flow, "cipher": row.Cipher, "obfs": row.Obfs, "obfs_password": row.ObfsPassword,
		"padding_scheme": strings.Join(row.Padding, "\n"),
	}
	switch row.Protocol {
	case "vless", "vmess", "trojan":
		o["transport"], o["host"], o["path"], o["service_name"] = network(row), row.Host, row.Path, row.ServiceName
	case "shadowsocks":
		key, err := base64.StdEncoding.DecodeString(row.ServerKey)
		if err != nil {
			panic(err) // a test's mistake
		}
		o["server_key"], o["obfs_host"], o["obfs_path"] = string(key), row.Host, row.Path
	case "hysteria2":
		if row.UpMbps > 0 {
			o["up_mbps"] = row.UpMbps
		}
		if row.DownMbps > 0 {
			o["down_mbps"] = row.DownMbps
		}
	}
	if row.TLS == 2 {
		port, _ := strconv.Atoi(cmp.Or(row.DestPort, "443"))
		o["reality_server_addr"], o["reality_server_port"] = cmp.Or(row.Dest, row.ServerName), port
		o["reality_private_key"], o["reality_public_key"], o["reality_short_id"] = row.PrivateKey, "PUB", row.ShortID
	}
	maps.DeleteFunc(o, func(_ string, v any) bool { return v == "" })
	return o
}

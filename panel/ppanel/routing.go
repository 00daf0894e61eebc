package ppanel

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	jsoniter "github.com/json-iterator/go"

	"heki/panel"
	"heki/panel/phpjson"
)

// nameServer is one entry of dns.
type nameServer struct {
	proto, address string
	domains        []string
}

// readDNS reads one entry of dns.
func readDNS(it *jsoniter.Iterator) (d nameServer) {
	phpjson.Object(it, func(name string) bool {
		switch name {
		case "proto":
			d.proto = strings.ToLower(phpjson.Text(it))
		case "address":
			d.address = strings.TrimSpace(phpjson.Text(it))
		case "domains":
			d.domains = phpjson.Lines(it)
		default:
			it.Skip()
		}
		return true
	})
	return d
}

// url is the server as dns.servers[].address has it. The host names what it does not know.
func (d *nameServer) url() string {
	if d.proto == "" || d.proto == "udp" || strings.Contains(d.address, "://") {
		return d.address
	}
	return d.proto + "://" + d.address
}

// outbound is one entry of outbound.
type outbound struct {
	name, protocol, address            string
	user, password, uuid, cipher, flow string
	security, sni, fingerprint         string
	transport, host, path, serviceName string
	insecure                           bool
	port                               int64
	settings, stream                   string // of Xray, in place of the members above; newer panels
	rules                              []string
}

// readOutbound reads one entry of outbound.
func readOutbound(it *jsoniter.Iterator) (o outbound) {
	texts := map[string]*string{
		"name": &o.name, "protocol": &o.protocol, "address": &o.address, "user": &o.user, "password": &o.password,
		"uuid": &o.uuid, "cipher": &o.cipher, "flow": &o.flow, "security": &o.security, "sni": &o.sni, "fingerprint": &o.fingerprint,
		"transport": &o.transport, "host": &o.host, "path": &o.path, "service_name": &o.serviceName,
		"settings": &o.settings, "stream_settings": &o.stream,
	}
	phpjson.Object(it, func(name string) bool {
		switch to := texts[name]; {
		case to != nil:
			*to = strings.TrimSpace(phpjson.Named(it, "outbound."+name, phpjson.Text))
		case name == "port":
			o.port = phpjson.Named(it, "outbound.port", phpjson.Int)
		case name == "allow_insecure":
			o.insecure = phpjson.Named(it, "outbound.allow_insecure", phpjson.Bool)
		case name == "rules":
			o.rules = phpjson.Lines(it)
		default:
			it.Skip()
		}
		return true
	})
	return o
}

type object = map[string]any

// xray is the outbound as Xray's configuration has it, which is what the panel's own node makes of it. What
// heki has no counterpart of is left in, so that it is refused by name and nothing goes astray.
// UDP over TCP, which that node asks Shadowsocks servers for, is left out: UDP gets there on its own.
func (o *outbound) xray() string {
	kind := strings.ToLower(o.protocol)
	switch kind {
	case "direct":
		kind = "freedom"
	case "reject", "block":
		kind = "blackhole"
	}
	settings, stream := object{}, object{}
	switch kind {
	case "freedom", "blackhole":
	case "socks", "http":
		settings = object{"address": o.address, "port": o.port}
		if o.user != "" {
			settings["user"], settings["pass"] = o.user, o.password
		}
	case "shadowsocks":
		settings = object{"address": o.address, "port": o.port, "method": o.cipher, "password": o.password}
		if o.cipher == "" {
			settings["method"] = "chacha20-ietf-poly1305" // the panel's standard one
		}
	case "vmess", "vless":
		settings = object{"address": o.address, "port": o.port, "id": o.uuid}
		if o.uuid == "" {
			settings["id"] = o.password
		}
		if kind == "vless" && o.flow != "none" {
			settings["flow"] = o.flow
		}
		if kind == "vmess" && o.cipher != "" {
			settings["security"] = o.cipher
		}
	default:
		settings = object{"address": o.address, "port": o.port, "password": o.password}
	}
	if kind != "freedom" && kind != "blackhole" {
		stream = o.streamSettings()
	}
	all := object{"tag": o.name, "protocol": kind, "settings": settings, "streamSettings": stream}
	raw(all, "settings", o.settings)
	raw(all, "streamSettings", o.stream)
	text, err := json.Marshal(all)
	if err != nil { // texts and numbers alone: the raw ones were looked at
		return ""
	}
	return string(text)
}

// raw puts the JSON of text into o. What is no JSON stays a text, which is refused.
func raw(o object, name, text string) {
	switch {
	case text == "":
	case json.Valid([]byte(text)):
		o[name] = json.RawMessage(text)
	default:
		o[name] = "no JSON"
	}
}

// streamSettings is what carries the protocol, in Xray's words.
func (o *outbound) streamSettings() object {
	s := object{"network": o.transport, "security": o.security}
	switch strings.ToLower(o.security) {
	case "tls":
		s["tlsSettings"] = object{"serverName": o.sni, "allowInsecure": o.insecure, "fingerprint": o.fingerprint}
	}
	switch at := (object{"host": o.host, "path": o.path}); strings.ToLower(o.transport) {
	case "ws", "websocket":
		s["wsSettings"] = at
	case "httpupgrade":
		s["httpupgradeSettings"] = at
	case "grpc":
		s["grpcSettings"] = object{"serviceName": o.serviceName}
	}
	return s
}

// route writes what the server says about where connections go into n: first what is blocked, then the
// outbounds in their order.
func (s *server) route(n *panel.Node) {
	add := func(r panel.Route, rules []string) {
		r.ID, r.Match = int64(len(n.Routes)+1), lines(rules)
		if len(r.Match) > 0 || len(rules) == 0 { // rules of nothing but spaces are not all names
			n.Routes = append(n.Routes, r)
		}
	}
	if len(s.block) > 0 {
		add(panel.Route{Action: "block"}, s.block)
	}
	for _, d := range s.dns {
		if d.address != "" {
			add(panel.Route{Action: "dns", Value: d.url()}, d.domains)
		}
	}
	for i := range s.outbounds {
		o := &s.outbounds[i]
		if len(o.rules) == 0 {
			continue // nothing goes there
		}
		add(panel.Route{Action: "route", Value: o.name}, o.rules)
		same := func(other outbound) bool { return other.name == o.name && len(other.rules) > 0 }
		if first := slices.IndexFunc(s.outbounds, same); first == i {
			n.CustomOutbounds = append(n.CustomOutbounds, o.xray())
		}
	}
}

// lines are the rule lines of the panel's rules: "keyword:x", "suffix:x", "regex:x", and a whole name. What
// follows any other kind counts as a keyword there.
func lines(rules []string) []string {
	all := make([]string, 0, len(rules))
	for _, rule := range rules {
		kind, value, cut := strings.Cut(strings.TrimSpace(rule), ":")
		switch value = strings.TrimSpace(value); {
		case !cut && kind != "":
			all = append(all, "full:"+kind)
		case value == "":
		case kind == "suffix":
			all = append(all, "domain:"+value)
		case kind == "regex":
			all = append(all, "regexp:"+value)
		case strings.ContainsAny(value, ":*#"): // of a line it would be more than a keyword
			all = append(all, "regexp:"+regexp.QuoteMeta(value))
		default:
			all = append(all, value)
		}
	}
	return all
}

package option

import (
	"reflect"

	"github.com/tailscale/hujson"
)

// refusal says why a member that operators know from sing-box, or from heki's documentation of a later
// version, is not taken here.
type refusal struct {
	text    string
	off     string   // a string that asks for nothing, beside the empty one
	excuses []string // siblings that Validate need not ask for
}

// later and never make the two common refusals.
func later(instead string) refusal {
	return refusal{text: "is not served by this version" + instead}
}

func never(why string) refusal { return refusal{text: "makes no sense here: " + why} }

// inert reports whether v asks for nothing, so that refusing it would only annoy: null, false, 0, "",
// an empty list or object, an object that says "enabled": false, or the string off.
func inert(v *hujson.Value, off string) bool {
	switch in := v.Value.(type) {
	case *hujson.Object:
		if m := member(in, "enabled"); m != nil {
			return m.Value.Kind() == 'f'
		}
		return len(in.Members) == 0
	case *hujson.Array:
		return len(in.Elements) == 0
	case hujson.Literal:
		switch in.Kind() {
		case 'n', 'f':
			return true
		case '0':
			return string(in) == "0"
		case '"':
			return textOf(v) == "" || off != "" && textOf(v) == off
		}
	}
	return false
}

// refusals is the table of one struct; embedded structs add theirs.
func refusals(t reflect.Type) map[string]refusal {
	switch t {
	case reflect.TypeFor[Options]():
		return refusedOptions
	case reflect.TypeFor[Log]():
		return refusedLog
	case reflect.TypeFor[DNS]():
		return refusedDNS
	case reflect.TypeFor[DNSServer]():
		return refusedDNSServer
	case reflect.TypeFor[DNSRule]():
		return refusedDNSRule
	case reflect.TypeFor[DNSCache]():
		return map[string]refusal{"capacity": later("; write size")}
	case reflect.TypeFor[Route]():
		return refusedRoute
	case reflect.TypeFor[Geo]():
		return refusedGeo
	case reflect.TypeFor[RouteTo]():
		return refusedRouteTo
	case reflect.TypeFor[Listen]():
		return refusedListen
	case reflect.TypeFor[VLESS]():
		return refusedVLESS
	case reflect.TypeFor[Shadowsocks]():
		return refusedShadowsocks
	case reflect.TypeFor[Hysteria2]():
		return refusedHysteria2
	case reflect.TypeFor[VMess]():
		return refusedVMess
	case reflect.TypeFor[VMessUser]():
		return refusedVMessUser
	case reflect.TypeFor[VLESSUser](), reflect.TypeFor[PasswordUser]():
		return refusedUser
	case reflect.TypeFor[TLS]():
		return refusedTLS
	case reflect.TypeFor[ACME]():
		return refusedACME
	case reflect.TypeFor[ACMEDNS01]():
		return refusedACMEDNS01
	case reflect.TypeFor[Reality]():
		return refusedReality
	case reflect.TypeFor[RealityTarget]():
		return refusedRealityTarget
	case reflect.TypeFor[Transport]():
		return refusedTransport
	case reflect.TypeFor[Multiplex]():
		return map[string]refusal{"brutal": later("; clients that ask for it are told so")}
	case reflect.TypeFor[Direct]():
		return refusedDirect
	case reflect.TypeFor[Dial]():
		return refusedDial
	case reflect.TypeFor[Remote]():
		return refusedRemote
	case reflect.TypeFor[ClientTLS]():
		return refusedClientTLS
	case reflect.TypeFor[HTTPOutbound]():
		return refusedHTTPOutbound
	case reflect.TypeFor[VLESSOutbound]():
		return refusedVLESSOutbound
	case reflect.TypeFor[VMessOutbound]():
		return refusedVMessOutbound
	case reflect.TypeFor[ShadowsocksOutbound]():
		return refusedShadowsocksOutbound
	case reflect.TypeFor[Panel]():
		return refusedPanel
	case reflect.TypeFor[PanelNode]():
		return refusedPanelNode
	case reflect.TypeFor[Limits]():
		return refusedLimits
	}
	return nil
}

var refusedOptions = map[string]refusal{
	"certificate":           never("heki's outgoing connections need no certificate store; a server's certificate goes into inbounds[].tls"),
	"certificate_providers": later("; write tls.acme, or tls.certificate_path and tls.key_path"),
	"endpoints":             never("heki serves no VPN endpoints"),
	"experimental":          never("the Clash and V2Ray interfaces and the cache file are sing-box's; heki keeps its state in state_dir"),
	"http_clients":          never("heki downloads nothing"),
	"network_namespaces":    later("; start heki inside the namespace"),
	"ntp":                   never("heki uses the system's clock; keep it right with chrony or systemd-timesyncd"),
	"services":              never("heki serves none of sing-box's services; users come from panels"),
}

var refusedLog = map[string]refusal{
	"color":         never("heki's log has no colours"),
	"disable_color": never("heki's log has no colours"),
}

var refusedDNS = map[string]refusal{
	"cache_capacity":    later("; write cache.size"),
	"client_subnet":     later(""),
	"disable_cache":     later(`; a short cache.ttl such as "1s" comes close`),
	"disable_expire":    never("an answer ages by its own TTL and cache.ttl"),
	"fakeip":            never("a server needs real addresses"),
	"independent_cache": never("there is one cache"),
	"optimistic":        later(""),
	"reverse_mapping":   never("heki is no transparent proxy"),
	"timeout":           later("; a lookup over all servers may take 5s"),
}

var refusedDNSServer = map[string]refusal{
	"type":             {text: `is not served; write address with its scheme: "udp://8.8.8.8", "tls://1.1.1.1", "https://dns.google/dns-query" or "system"`, excuses: []string{"address"}},
	"server":           {text: `is not served; write address: "8.8.8.8"`, excuses: []string{"address"}},
	"server_port":      {text: `is not served; write address with its port: "8.8.8.8:5353"`, excuses: []string{"address"}},
	"address_resolver": later("; write a server's IP address"),
	"address_strategy": later("; write strategy for what the server answers"),
	"client_subnet":    later(""),
	"detour":           later("; heki asks the servers directly"),
	"domain_resolver":  later("; write a server's IP address"),
	"tls":              never("a server's certificate is checked for the name or the address in address; write tls:// there for DNS over TLS"),
}

var refusedRoute = map[string]refusal{
	"audit_source":                  later("; write the lines into audit"),
	"auto_detect_interface":         never("a server takes the system's routes; write bind_interface in an outbound"),
	"default_domain_resolver":       never("heki resolves through dns; write dns.servers and dns.final"),
	"default_fallback_delay":        later(""),
	"default_fallback_network_type": never("a server has one kind of network"),
	"default_http_client":           never("heki downloads nothing"),
	"default_interface":             later("; write bind_interface in an outbound"),
	"default_mark":                  later("; write routing_mark in an outbound"),
	"default_network_strategy":      never("a server has one kind of network"),
	"default_network_type":          never("a server has one kind of network"),
	"dhcp_lease_files":              never("heki does not look up the clients' host names"),
	"find_neighbor":                 never("heki does not look up the clients' hardware addresses"),
	"find_process":                  never("the clients' processes run on other machines"),
	"geoip":                         {text: "is sing-box's; write geo: { \"dir\": … } and lines such as geoip:cn", excuses: []string{"geo"}},
	"geosite":                       {text: "is sing-box's; write geo: { \"dir\": … } and lines such as geosite:netflix", excuses: []string{"geo"}},
	"inspect_first_packet":          later(""),
	"inspect_first_packet_max":      later(""),
	"override_android_vpn":          never("heki runs on servers"),
	"rule_set":                      later("; write the lines into rules[].match"),
	"rules_source":                  later("; write the rules into rules"),
	"whitelist_source":              later("; write the lines into whitelist"),
}

// refusedRouteTo has the commonest conditions of sing-box's rules with their form in heki's lines.
var refusedRouteTo = map[string]refusal{
	"action":          {text: `is sing-box's; name an outbound (the outbound "block" refuses)`, excuses: []string{"outbound"}},
	"type":            {text: `is sing-box's; write match: ["domain:example.org", "port:25"] and outbound`, excuses: []string{"match"}},
	"domain":          asLine("full:example.org"),
	"domain_suffix":   asLine("domain:example.org"),
	"domain_keyword":  asLine("example"),
	"domain_regex":    asLine("regexp:^a.*"),
	"ip_cidr":         asLine("ip:10.0.0.0/8"),
	"ip_is_private":   {text: "is sing-box's; write route.forbid_private_ip", excuses: []string{"match"}},
	"source_ip_cidr":  later(""),
	"port":            asLine("port:80,443"),
	"port_range":      asLine("port:1000-2000"),
	"protocol":        asLine("protocol:bittorrent"),
	"network":         asLine("network:udp"),
	"inbound":         asLine("inbound:TAG"),
	"auth_user":       asLine("user:alice"),
	"user":            asLine("user:alice"),
	"geosite":         asLine("geosite:netflix"),
	"geoip":           asLine("geoip:cn"),
	"rule_set":        later("; write the lines into match"),
	"invert":          later(""),
	"clash_mode":      never("heki has no Clash interface"),
	"process_name":    never("the clients' processes run on other machines"),
	"override_port":   later(""),
	"override_domain": later(""),
}

func asLine(example string) refusal {
	return refusal{text: `is sing-box's; write a line of match: "` + example + `"`, excuses: []string{"match"}}
}

var refusedLimits = map[string]refusal{
	"redis":   later("; the limits count on each machine alone"),
	"dynamic": later(""),
}

var refusedPanel = map[string]refusal{
	"limits":  {text: "stands in node_defaults or in a node; write node_defaults.limits"},
	"node_id": {text: `is not a key; write nodes: [ { "id": 1 } ]`, excuses: []string{"nodes"}},
	"rules":   never("a panel's rules come from the panel; heki's own stand in route"),
}

var refusedPanelNode = map[string]refusal{
	"users":      never("the users of a node come from the panel"),
	"tag":        never("a node is called by its panel's name and its id"),
	"server":     never("the client's side of a node is the panel's"),
	"protocol":   {text: "is ruled by the panel; leave it out"},
	"decryption": {text: "is ruled by the panel; leave it out"},
}

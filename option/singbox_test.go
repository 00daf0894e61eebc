package option

import (
	"reflect"
	"testing"
	"time"
)

// Configurations as sing-box v1.14.1 takes them, without a change.
func TestSingBoxFiles(t *testing.T) {
	const tail = `"outbounds": [{"type": "direct", "tag": "out"}], "route": {"final": "out", "auto_detect_interface": false}, "experimental": {}`
	for name, in := range map[string]string{
		"vless tcp": `{"log": {"level": "warning", "timestamp": true, "output": "box.log"}, "inbounds": [{"type": "vless", "tag": "vless-in", "listen": "::", "listen_port": 443,
			"tcp_fast_open": false, "udp_timeout": 300, "udp_fragment": false, "users": [{"name": "a", "uuid": "bf000d23-0752-40b4-affe-68f7707a9661", "flow": ""}], "multiplex": {"enabled": false, "brutal": {"enabled": false, "up_mbps": 100}}}], ` + tail + `}`,
		"vless tls": `{"inbounds": [{"type": "vless", "listen": "0.0.0.0", "listen_port": 443, "users": [{"uuid": "sekai", "name": "b", "flow": "xtls-rprx-vision"}],
			"tls": {"enabled": true, "server_name": "a.example", "alpn": "h2", "min_version": "1.2", "certificate_path": "/c.pem", "key_path": "/k.pem", "reality": {"enabled": false}, "ech": null}}], ` + tail + `}`,
		"trojan ws": `{"inbounds": [{"type": "trojan", "tag": "trojan-in", "listen": "127.0.0.1", "listen_port": 8080, "users": [{"name": "sekai", "password": "8JCsPssfgS8tiRwiMlhARg=="}],
			"transport": {"type": "ws", "path": "/x", "headers": {"Server": "nginx", "X": ["1", "2"]}, "max_early_data": 2048, "early_data_header_name": "Sec-WebSocket-Protocol"},
			"fallback": {"server": "127.0.0.1", "server_port": 8081}}], ` + tail + `}`,
		"reality": `{"inbounds": [{"type": "vless", "listen": "::", "listen_port": 443, "users": [{"uuid": "bf000d23-0752-40b4-affe-68f7707a9661"}],
			"tls": {"enabled": true, "server_name": "google.com", "reality": {"enabled": true, "handshake": {"server": "google.com", "server_port": 443, "detour": ""},
				"private_key": "UuMBgl7MXTPx9inmQp2UC7Jcnwc6XYbwDNebonM-FCc", "short_id": "0123456789abcdef", "max_time_difference": "1m"}}}], ` + tail + `}`,
		"transports": `{"inbounds": [
			{"type": "vless", "listen_port": 1, "users": [{"uuid": "a"}], "transport": {"type": "http", "host": [], "path": "", "method": "", "headers": {"A": "b"}, "idle_timeout": "15s", "ping_timeout": "15s"}},
			{"type": "vless", "listen_port": 2, "users": [{"uuid": "a"}], "transport": {"type": "http", "host": ["a.example", "b.example"], "path": "/x", "method": "PUT"}},
			{"type": "trojan", "listen_port": 3, "users": [{"password": "a"}], "transport": {"type": "grpc", "service_name": "TunService", "idle_timeout": "15s", "ping_timeout": "15s", "permit_without_stream": false}},
			{"type": "trojan", "listen_port": 4, "users": [{"password": "a"}], "transport": {"type": "grpc"}},
			{"type": "trojan", "listen_port": 5, "users": [{"password": "a"}], "transport": {"type": "httpupgrade", "host": "a.example", "path": "x?ed=2048", "headers": {"A": ["b", "c"]}}}], ` + tail + `}`,
		"trojan wss": `{"log": {"disabled": false, "level": "panic"}, "inbounds": [{"type": "trojan", "listen": "::", "listen_port": 443, "users": [{"password": "p"}],
			"fallback_for_alpn": {"http/1.1": {"server": "127.0.0.1", "server_port": 8081}}, "transport": {"type": "ws"},
			"tls": {"enabled": true, "certificate": ["-----BEGIN CERTIFICATE-----", "x"], "key": ["-----BEGIN PRIVATE KEY-----", "x"], "curve_preferences": ["x25519", "p256"],
				"cipher_suites": ["TLS_AES_128_GCM_SHA256"], "client_authentication": "no"}}],
			"outbounds": [{"type": "direct", "routing_mark": "0x10", "connect_timeout": "5s", "inet4_bind_address": "192.0.2.1"}, {"type": "block", "tag": "no"}],
			"dns": {"strategy": "prefer_ipv4"}}`,
		"shadowsocks": `{"inbounds": [
			{"type": "shadowsocks", "tag": "ss-in", "listen": "::", "listen_port": 1, "network": "tcp", "method": "2022-blake3-aes-128-gcm", "password": "8JCsPssfgS8tiRwiMlhARg==", "managed": false, "multiplex": {"enabled": true, "padding": false}},
			{"type": "shadowsocks", "listen_port": 2, "method": "2022-blake3-aes-128-gcm", "password": "8JCsPssfgS8tiRwiMlhARg==", "users": [{"name": "sekai", "password": "PCD2Z4o12bKUoFa3cC97Hw=="}], "multiplex": {}},
			{"type": "shadowsocks", "listen_port": 3, "method": "chacha20-ietf-poly1305", "password": "p", "udp_timeout": "5m"},
			{"type": "shadowsocks", "listen_port": 4, "method": "aes-192-gcm", "users": [{"name": "sekai", "password": "p"}]},
			{"type": "shadowsocks", "listen_port": 5, "network": "udp", "method": "2022-blake3-chacha20-poly1305", "password": "MjQ5MjBkZWNmODNmNjk2MGI4MGY3MzdhMjhlZWFmYzE="}], ` + tail + `}`,
	} {
		if _, err := Parse([]byte(in)); err != nil {
			t.Errorf("%s:\n%v", name, err)
		}
	}
}

// What sing-box means is what heki reads.
func TestSingBoxMeaning(t *testing.T) {
	o, err := Parse([]byte(`{"log": {"level": "warning"}, "dns": {"strategy": "prefer_ipv6"}, "inbounds": [
		{"type": "vless", "listen": "127.0.0.1", "listen_port": 1, "tcp_multi_path": true, "udp_timeout": 300,
		 "transport": {"type": "ws", "path": "x", "max_early_data": 2048}, "users": [{"uuid": "a"}, {"uuid": "b", "id": 9}]},
		{"type": "vless", "listen_port": 2, "udp_timeout": "1d", "transport": {"type": "ws", "path": "/x?ed=2560"}}],
		"outbounds": [{"type": "direct", "routing_mark": "0x1f"}, {"type": "direct"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := o.Inbounds[0].Options.(*VLESS)
	b, _ := o.Inbounds[1].Options.(*VLESS)
	out, _ := o.Outbounds[0].Options.(*Direct)
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"level", o.Log.Level, "warn"},
		{"strategy", o.DNS.Strategy, "ipv6_first"},
		{"tag", o.Inbounds[0].Tag, "vless"},
		{"second tag", o.Inbounds[1].Tag, "vless-2"},
		{"outbound tags", o.Outbounds[1].Tag, "direct-2"},
		{"listen", a.Listen.Listen, Listable[string]{"127.0.0.1"}},
		{"default listen", b.Listen.Listen, Listable[string]{"::"}},
		{"mptcp", a.MPTCP && a.TCPMultiPath, true},
		{"seconds", a.UDPTimeout, Duration(5 * time.Minute)},
		{"days", b.UDPTimeout, Duration(24 * time.Hour)},
		{"path", *a.Transport, Transport{Type: "ws", Path: "/x", MaxEarlyData: 2048}},
		{"?ed", *b.Transport, Transport{Type: "ws", Path: "/x", MaxEarlyData: 2560, EarlyDataHeaderName: "Sec-WebSocket-Protocol"}},
		{"mark", out.RoutingMark, uint32(0x1f)},
		{"position as name", a.Users[0].Name, "#0"},
		{"id as name", a.Users[1].Name, "9"},
		{"state_dir", o.StateDir, "/var/lib/heki"},
		{"handshake", a.HandshakeTimeout, Duration(10 * time.Second)},
		{"ip_expiry", o.Limits.IPExpiry, Duration(time.Minute)},
		{"cache", o.DNS.Cache, DNSCache{TTL: Duration(10 * time.Minute), Size: 4096}},
		{"traffic", o.Traffic.OnAmbiguous, "hold"},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

// What heki does not take from sing-box is refused by name.
func TestSingBoxRefusals(t *testing.T) {
	for _, in := range []string{
		beside(`"ntp": {"enabled": true}`), beside(`"certificate": {"store": "mozilla"}`), beside(`"endpoints": [{}]`), beside(`"services": [{}]`),
		beside(`"experimental": {"cache_file": {"enabled": true}}`),
		inboundWith(`"detour": "x"`), inboundWith(`"sniff": true`), inboundWith(`"sniff_override_destination": true`), inboundWith(`"netns": "x"`),
		inboundWith(`"udp_fragment": true`), inboundWith(`"routing_mark": 1`), inboundWith(`"proxy_protocol": true`), inboundWith(`"proxy_protocol_accept_no_header": true`),
		inboundWith(`"udp_proxy_protocol": "optional"`), inboundWith(`"tcp_keep_alive": "5m"`), inboundWith(`"domain_strategy": "prefer_ipv4"`),
		inboundWith(`"multiplex": {"brutal": {"enabled": true}}`),
		inboundWith(`"tls": {"ech": {"enabled": true}}`), inboundWith(`"tls": {"insecure": true}`),
		inboundWith(`"tls": {"utls": {"enabled": true}}`), inboundWith(`"tls": {"client_authentication": "request"}`), inboundWith(`"tls": {"kernel_tx": true}`),
		beside(`"limits": {"redis": {"address": "x"}}`), beside(`"limits": {"invalid_access": {"ban": "5m"}}`),
		beside(`"route": {"geo": {"update": "24h"}}`), beside(`"route": {"geosite": {"path": "x"}}`), beside(`"route": {"geoip": {"path": "x"}}`), beside(`"route": {"audit_source": "x"}`), beside(`"route": {"rules_source": "x"}`),
		beside(`"route": {"default_domain_resolver": "x"}`), beside(`"outbounds": [{"type": "direct", "domain_resolver": "x"}]`),
		beside(`"dns": {"disable_cache": true}`),
	} {
		_, err := Parse([]byte(in))
		got := MistakesOf(err)
		if len(got) != 1 {
			t.Errorf("%s: got %d mistakes, want 1:\n%v", in, len(got), err)
			continue
		}
		if text := got[0].Text.Error(); len(text) < 10 || text[:10] == "is not a k" {
			t.Errorf("%s: no reason: %s", in, text)
		}
	}
}

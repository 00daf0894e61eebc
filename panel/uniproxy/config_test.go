package uniproxy

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"heki/panel"
)

const uuid1 = "b831381d-6324-4d53-ad4f-8cda48b30811"

const tail = `,"base_config":{"push_interval":60,"pull_interval":"30"}}`

// The bodies are those of reference/panels.md §6.4 and §4.2, and their variations in §0.2.
func TestParseNode(t *testing.T) {
	for _, tt := range []struct {
		name, in, kind string
		want           panel.Node
		rules          string
	}{
		{
			"trojan tls", `{"protocol":"trojan","listen_ip":"0.0.0.0","server_port":443,"network":"tcp","networkSettings":null,"host":"tj.example.com","server_name":"tj.example.com","multiplex":null,"tls":1,"tls_settings":{"server_name":"tj.example.com","allow_insecure":false,"ech":null}` + tail, "",
			panel.Node{Protocol: "trojan", Port: 443, TLS: 1, ServerName: "tj.example.com"},
			"",
		},
		{
			"trojan without tls", `{"protocol":"trojan","server_port":443,"network":null,"tls":0` + tail, "",
			panel.Node{Protocol: "trojan", Port: 443},
			"",
		},
		{
			"old trojan, type from the entry", `{"host":"tj.example.com","server_port":443,"server_name":"sni.example.com"` + tail, "trojan",
			panel.Node{Protocol: "trojan", Port: 443, TLS: 1, ServerName: "sni.example.com"},
			"",
		},
		{
			"vless tcp tls, empty settings as lists", `{"protocol":"vless","server_port":"8443","network":"tcp","networkSettings":[],"tls":"1","flow":null,"decryption":"none","tls_settings":[],"multiplex":[],"routes":[]` + tail, "",
			panel.Node{Protocol: "vless", Port: 8443, TLS: 1},
			"",
		},
		{
			"vless ws", `{"protocol":"vless","server_port":80,"network":"ws","networkSettings":{"path":"\/ray?ed=2048","headers":{"Host":"v.example.com"},"security":"auto"},"tls":0,"flow":""` + tail, "",
			panel.Node{Protocol: "vless", Port: 80, Carrier: panel.Carrier{Network: "ws", Path: "/ray?ed=2048", Host: "v.example.com"}},
			"",
		},
		{
			"both settings, as in 2023", `{"protocol":"vless","server_port":80,"network":"ws","network_settings":{"path":"\/a"},"networkSettings":{"path":"\/a"},"tls":0` + tail, "",
			panel.Node{Protocol: "vless", Port: 80, Carrier: panel.Carrier{Network: "ws", Path: "/a"}},
			"",
		},
		{
			"vision", `{"protocol":"vless","server_port":443,"network":"tcp","networkSettings":{"header":{"type":"none"}},"tls":1,"flow":"xtls-rprx-vision","tls_settings":{"server_name":"x.example.com"}` + tail, "",
			panel.Node{Protocol: "vless", Port: 443, TLS: 1, ServerName: "x.example.com", Flow: panel.FlowVision},
			"",
		},
		{
			"routes", `{"protocol":"vless","server_port":443,"network":"tcp","tls":0,"routes":[{"id":1,"match":["regexp:.*ads.*",""],"action":"block","action_value":null},{"id":2,"match":{"0":"domain:a.com","2":"b"},"action":"block"},{"id":"3","match":"port:25,c\nprotocol:bittorrent","action":"block"},{"id":4,"match":["x"],"action":"dns","action_value":"1.1.1.1"},{"id":5,"match":null,"action":"proxy","action_value":{"tag":"x"}}]` + tail, "",
			panel.Node{Protocol: "vless", Port: 443},
			"regexp:.*ads.*|domain:a.com|b|port:25|c|protocol:bittorrent",
		},
		{
			"vmess ws", `{"protocol":"vmess","listen_ip":"0.0.0.0","server_port":10086,"network":"ws","networkSettings":{"path":"\/ray","headers":{"Host":"v.example.com"}},"tls":1,"tls_settings":{"server_name":"v.example.com","allow_insecure":false,"ech":null},"multiplex":null` + tail, "",
			panel.Node{Protocol: "vmess", Port: 10086, Carrier: panel.Carrier{Network: "ws", Path: "/ray", Host: "v.example.com"}, TLS: panel.TLSOn, ServerName: "v.example.com"},
			"",
		},
		{
			"v2ray is vmess", `{"protocol":"v2ray","server_port":8080,"network":"tcp","networkSettings":null,"tls":0` + tail, "",
			panel.Node{Protocol: "vmess", Port: 8080},
			"",
		},
		{
			"vless grpc", `{"protocol":"vless","server_port":443,"network":"grpc","networkSettings":{"serviceName":"g"},"tls":1,"flow":"","multiplex":{"enabled":true,"protocol":"yamux","padding":true,"brutal":null}` + tail, "",
			panel.Node{Protocol: "vless", Port: 443, Carrier: panel.Carrier{Network: "grpc", ServiceName: "g"}, TLS: panel.TLSOn, Multiplex: true},
			"",
		},
		{
			"vless reality", `{"protocol":"vless","listen_ip":"0.0.0.0","server_port":443,"network":"tcp","networkSettings":null,"tls":2,"flow":"xtls-rprx-vision","decryption":null,"tls_settings":{"server_name":"www.apple.com","server_port":"8443","public_key":"PUB","private_key":"PRIV","short_id":"0123abcd","allow_insecure":false},"multiplex":null` + tail, "",
			panel.Node{
				Protocol: "vless", Port: 443, TLS: panel.TLSReality, ServerName: "www.apple.com", Flow: panel.FlowVision,
				Reality: &panel.Reality{Server: "www.apple.com", ServerPort: 8443, ServerNames: []string{"www.apple.com"}, PrivateKey: "PRIV", ShortIDs: []string{"0123abcd"}},
			},
			"",
		},
		{
			"trojan reality", `{"protocol":"trojan","server_port":443,"network":"tcp","tls":2,"tls_settings":{"server_name":"www.apple.com","server_port":"443","private_key":"PRIV","short_id":null}` + tail, "",
			panel.Node{
				Protocol: "trojan", Port: 443, TLS: panel.TLSReality, ServerName: "www.apple.com",
				Reality: &panel.Reality{Server: "www.apple.com", ServerPort: 443, ServerNames: []string{"www.apple.com"}, PrivateKey: "PRIV", ShortIDs: []string{""}},
			},
			"",
		},
		{
			"vmess h2", `{"protocol":"vmess","server_port":443,"network":"h2","networkSettings":{"path":"\/x","host":["a.example.com","b.example.com"]},"tls":1` + tail, "",
			panel.Node{Protocol: "vmess", Port: 443, Carrier: panel.Carrier{Network: "http", Path: "/x", Host: "a.example.com"}, TLS: panel.TLSOn},
			"",
		},
		{
			"vmess httpupgrade", `{"protocol":"vmess","server_port":80,"network":"httpupgrade","networkSettings":{"path":"\/up","host":"u.example.com","headers":[]},"tls":0` + tail, "",
			panel.Node{Protocol: "vmess", Port: 80, Carrier: panel.Carrier{Network: "httpupgrade", Path: "/up", Host: "u.example.com"}},
			"",
		},
		{
			"vmess with an http header", `{"protocol":"vmess","server_port":80,"network":"tcp","networkSettings":{"header":{"type":"http","request":{"path":["\/a","\/b"],"headers":{"Host":["www.baidu.com"]}},"response":[]}},"tls":0` + tail, "",
			panel.Node{Protocol: "vmess", Port: 80, Carrier: panel.Carrier{Network: "tcp_http_header", Paths: []string{"/a", "/b"}, Host: "www.baidu.com"}},
			"",
		},
		{
			"unknown members", `{"protocol":"vless","custom_thing":[{"a":[1,{"b":null}]}],"cert_config":{"cert_mode":"dns"},"server_port":443.0,"network":"tcp","tls":false` + tail, "",
			panel.Node{Protocol: "vless", Port: 443},
			"",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := ParseNode([]byte(tt.in), tt.kind)
			if err == nil {
				err = n.Check(3)
			}
			if err != nil {
				t.Fatal(err)
			}
			routing, _ := n.Routing()
			var lines []string
			for _, r := range routing.Rules {
				lines = append(lines, r.Lines...)
			}
			if got := strings.Join(lines, "|"); got != tt.rules {
				t.Errorf("rules = %s, want %s", got, tt.rules)
			}
			if n.Push != time.Minute || n.Pull != 30*time.Second {
				t.Errorf("intervals = %s, %s", n.Push, n.Pull)
			}
			n.Routes, n.Push, n.Pull = nil, 0, 0
			if !reflect.DeepEqual(*n, tt.want) {
				t.Errorf("got %+v, want %+v", *n, tt.want)
			}
			for i := range len(tt.in) { // every prefix is refused, none panics
				if _, err := ParseNode([]byte(tt.in[:i]), tt.kind); err == nil {
					t.Fatalf("prefix of %d bytes was taken", i)
				}
			}
		})
	}
}

// TestParseCustom: what an administrator entered comes as objects, or as texts that hold them.
func TestParseCustom(t *testing.T) {
	const head = `{"protocol":"vless","server_port":443,"network":"tcp","tls":0,`
	for in, want := range map[string][2][]string{
		`"custom_outbounds":[{"tag":"a","n":1},{"tag":"b"}],"custom_routes":[{"outbound":"a"}]`: {{`{"tag":"a","n":1}`, `{"tag":"b"}`}, {`{"outbound":"a"}`}},
		`"custom_outbounds":"[{\"tag\":\"a\"}]","custom_routes":["{\"outbound\":\"a\"}",null]`:  {{`[{"tag":"a"}]`}, {`{"outbound":"a"}`}},
		`"custom_outbounds":[],"custom_routes":null`:                                            {},
		`"custom_outbounds":{"0":{"tag":"a"}}`:                                                  {{`{"0":{"tag":"a"}}`}},
	} {
		n, err := ParseNode([]byte(head+in+tail), "")
		if err != nil {
			t.Errorf("%s: %v", in, err)
		} else if !slices.Equal(n.CustomOutbounds, want[0]) || !slices.Equal(n.CustomRoutes, want[1]) {
			t.Errorf("%s: got %q and %q", in, n.CustomOutbounds, n.CustomRoutes)
		}
	}
}

// TestParseProtocols: what only one protocol has. The bodies are those of reference/panels.md §4.2, §5 and §6.4.
func TestParseProtocols(t *testing.T) {
	for _, tt := range []struct {
		name, in, kind string
		want           panel.Node
	}{
		{
			"shadowsocks with XBoard's plugin", `{"protocol":"shadowsocks","listen_ip":"192.0.2.7","server_port":8388,"network":null,"networkSettings":null,"cipher":"aes-128-gcm","plugin":"obfs","plugin_opts":"obfs=http;obfs-host=www.bing.com;path=\/","server_key":null` + tail, "",
			panel.Node{Protocol: "shadowsocks", Port: 8388, Listen: "192.0.2.7", Cipher: "aes-128-gcm", Obfs: &panel.Obfs{Type: "http", Host: "www.bing.com", Path: "/"}},
		},
		{
			"shadowsocks with v2board's obfs", `{"server_port":8388,"cipher":"aes-128-gcm","obfs":"http","obfs_settings":{"path":"\/","host":"www.bing.com"}` + tail, "shadowsocks",
			panel.Node{Protocol: "shadowsocks", Port: 8388, Cipher: "aes-128-gcm", Obfs: &panel.Obfs{Type: "http", Host: "www.bing.com", Path: "/"}},
		},
		{
			"shadowsocks 2022", `{"server_port":8389,"cipher":"2022-blake3-aes-128-gcm","obfs":null,"obfs_settings":[],"server_key":"MjQ5MjBkZWNmODNmNjk2MA=="` + tail, "ss",
			panel.Node{Protocol: "shadowsocks", Port: 8389, Cipher: "2022-blake3-aes-128-gcm", ServerKey: "MjQ5MjBkZWNmODNmNjk2MA=="},
		},
		{
			"hysteria2 of xiaov2board", `{"version":2,"host":"hy.example.com","server_port":8443,"server_name":"hy.example.com","up_mbps":0,"down_mbps":0,"ignore_client_bandwidth":true,"obfs":"salamander","obfs-password":"pw"` + tail, "hysteria",
			panel.Node{Protocol: "hysteria2", Port: 8443, TLS: panel.TLSOn, ServerName: "hy.example.com", IgnoreClientBandwidth: true, Obfs: &panel.Obfs{Type: "salamander", Password: "pw"}},
		},
		{
			"hysteria2 of XBoard, obfs off", `{"protocol":"hysteria","server_port":8443,"version":2,"server_name":"hy.example.com","tls_settings":{"server_name":"hy.example.com"},"up_mbps":100,"down_mbps":"200","obfs":null,"obfs-password":"pw"` + tail, "",
			panel.Node{Protocol: "hysteria2", Port: 8443, TLS: panel.TLSOn, ServerName: "hy.example.com", UpMbps: 100, DownMbps: 200},
		},
		{
			"hysteria2 with the key as obfs", `{"protocol":"hysteria2","server_port":8443,"obfs":"MjQ5MjBkZWNmODNmNjk2MA=="` + tail, "",
			panel.Node{Protocol: "hysteria2", Port: 8443, TLS: panel.TLSOn, Obfs: &panel.Obfs{Type: "salamander", Password: "MjQ5MjBkZWNmODNmNjk2MA=="}},
		},
		{
			"anytls", `{"server_port":8443,"server_name":"a.example.com","padding_scheme":["stop=8","2=400-500,c,500-1000"]` + tail, "anytls",
			panel.Node{Protocol: "anytls", Port: 8443, TLS: panel.TLSOn, ServerName: "a.example.com", PaddingScheme: []string{"stop=8", "2=400-500,c,500-1000"}},
		},
		{
			"xiaov2board's reality", `{"server_port":443,"network":"tcp","networkSettings":null,"tls":2,"flow":"xtls-rprx-vision","tls_settings":{"server_name":"www.apple.com","dest":"","server_port":"443","public_key":"PUB","private_key":"PRIV","short_id":"0123abcd","xver":"1","fingerprint":"chrome"},"encryption":null,"encryption_settings":null` + tail, "vless",
			panel.Node{
				Protocol: "vless", Port: 443, Carrier: panel.Carrier{Network: "tcp"}, TLS: panel.TLSReality, ServerName: "www.apple.com", Flow: panel.FlowVision,
				Reality: &panel.Reality{Server: "www.apple.com", ServerPort: 443, ServerNames: []string{"www.apple.com"}, PrivateKey: "PRIV", ShortIDs: []string{"0123abcd"}, ProxyHeader: 1},
			},
		},
		{
			"a certificate in files", `{"protocol":"trojan","server_port":443,"network":"tcp","tls":1,"tls_settings":{"server_name":"a","cert_mode":"file","cert_file":"/c.pem","key_file":"/k.pem","reject_unknown_sni":"1"}` + tail, "",
			panel.Node{Protocol: "trojan", Port: 443, Carrier: panel.Carrier{Network: "tcp"}, TLS: panel.TLSOn, ServerName: "a", Cert: &panel.Cert{Mode: "file", Path: "/c.pem", KeyPath: "/k.pem", RejectSNI: true}},
		},
		{
			"XBoard's cert_config", `{"protocol":"anytls","server_port":443,"cert_config":{"cert_mode":"dns","domain":"a.com","provider":"cloudflare","env":{"A":"b"}}` + tail, "",
			panel.Node{Protocol: "anytls", Port: 443, TLS: panel.TLSOn, Cert: &panel.Cert{Mode: "dns", Domains: []string{"a.com"}, Provider: "cloudflare", Env: map[string]string{"A": "b"}}},
		},
		{
			"xiaov2board's version 2, Shadowsocks over HTTP", `{"listen_ip":"0.0.0.0","server_port":8388,"network":"tcp","network_settings":{"path":"\/x","Host":"www.bing.com"},"protocol":"shadowsocks","tls":0,"tls_settings":null,"cipher":"aes-128-gcm","obfs":null,"obfs_password":null` + tail, "",
			panel.Node{Protocol: "shadowsocks", Port: 8388, Listen: "0.0.0.0", Cipher: "aes-128-gcm", Obfs: &panel.Obfs{Type: "http", Path: "/x", Host: "www.bing.com"}},
		},
		{
			"xiaov2board's version 2, plain Shadowsocks", `{"server_port":8388,"network":"tcp","network_settings":[],"protocol":"shadowsocks","tls":0,"tls_settings":null,"cipher":"aes-128-gcm"` + tail, "",
			panel.Node{Protocol: "shadowsocks", Port: 8388, Cipher: "aes-128-gcm"},
		},
		{
			"behind a relay", `{"server_port":443,"network":"tcp","network_settings":{"acceptProxyProtocol":true},"protocol":"trojan","tls":1,"tls_settings":{"server_name":"a","ech":"cloudflare"}` + tail, "",
			panel.Node{Protocol: "trojan", Port: 443, Carrier: panel.Carrier{Network: "tcp"}, TLS: panel.TLSOn, ServerName: "a", ProxyProtocol: true},
		},
		{
			"xiaov2board's version 2", `{"listen_ip":"0.0.0.0","server_port":8443,"network":"tcp","network_settings":{"acceptProxyProtocol":false},"protocol":"anytls","tls":1,"tls_settings":{"server_name":"a.example.com"},"encryption":null,"flow":null,"cipher":null,"up_mbps":0,"down_mbps":0,"obfs":null,"obfs_password":null,"padding_scheme":null,"ignore_client_bandwidth":true,"base_config":{"push_interval":60,"pull_interval":30,"node_report_min_traffic":10,"device_online_min_traffic":"2"}}`, "",
			panel.Node{Protocol: "anytls", Port: 8443, Listen: "0.0.0.0", TLS: panel.TLSOn, ServerName: "a.example.com", IgnoreClientBandwidth: true, MinTraffic: 10000, MinOnline: 2000},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := ParseNode([]byte(tt.in), tt.kind)
			if err != nil {
				t.Fatal(err)
			}
			n.Push, n.Pull = 0, 0
			if !reflect.DeepEqual(*n, tt.want) {
				t.Errorf("got %+v, want %+v", *n, tt.want)
			}
		})
	}
}

func TestParseNodeRefuses(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"a plugin", `{"protocol":"shadowsocks","server_port":8388,"cipher":"aes-128-gcm","plugin":"v2ray-plugin","plugin_opts":"tls","server_key":null` + tail, `plugin is "v2ray-plugin"`},
		{"shadowsocks over ws", `{"protocol":"shadowsocks","server_port":8388,"cipher":"aes-128-gcm","network":"ws"` + tail, `network is "ws", which heki does not serve with Shadowsocks`},
		{"ECH", `{"protocol":"trojan","server_port":443,"network":"tcp","tls":1,"tls_settings":{"server_name":"a","ech":{"enabled":true,"config":"x","key":"y"}}` + tail, "tls_settings.ech is on"},
		{"xiaov2board's ECH", `{"protocol":"anytls","server_port":443,"network":"tcp","tls":1,"tls_settings":{"server_name":"a","ech":"custom","ech_key":"y"}` + tail, "tls_settings.ech is on"},
		{"ML-DSA", `{"protocol":"vless","server_port":443,"network":"tcp","tls":2,"tls_settings":{"server_name":"a","private_key":"P","mldsa65Seed":"x"}` + tail, "tls_settings.mldsa65Seed is set"},
		{"no cipher", `{"protocol":"shadowsocks","server_port":8388,"cipher":null` + tail, "cipher is missing"},
		{"hysteria 1", `{"protocol":"hysteria","server_port":8443,"version":1,"up_mbps":100,"down_mbps":100,"obfs":"pw"` + tail, "node 3 is hysteria, which this version does not serve"},
		{"xiaov2board encryption", `{"protocol":"vless","server_port":80,"network":"tcp","tls":0,"encryption":"mlkem768x25519plus"` + tail, "decryption is set"},
		{"a host name to listen on", `{"protocol":"vless","server_port":80,"listen_ip":"a.example","network":"tcp","tls":0` + tail, "listen is"},
		{"vmess without a network", `{"protocol":"vmess","server_port":1,"tls":1` + tail, "network is missing"},
		{"tuic", `{"protocol":"tuic","server_port":1` + tail, "node 3 is tuic, which this version does not serve"},
		{"naive", `{"protocol":"naive","server_port":8443,"padding_scheme":["stop=8"]` + tail, "node 3 is naive"},
		{"tuic", `{"protocol":"tuic","server_port":8443,"auth_timeout":"3s"` + tail, "node 3 is tuic"},
		{"naive", `{"protocol":"naive","server_port":443` + tail, "node 3 is naive"},
		{"mieru", `{"protocol":"mieru","server_port":2999,"transport":"TCP"` + tail, "node 3 is mieru"},
		{"old mieru", `{"protocol":6,"server_port":"2999"` + tail, "node 3 is 6"},
		{"socks", `{"protocol":"socks","server_port":1080,"tls":0,"tls_settings":null` + tail, "node 3 is socks"},
		{"vmess reality", `{"protocol":"vmess","server_port":443,"network":"tcp","tls":2` + tail, "node 3 uses reality"},
		{"xhttp", `{"protocol":"vless","server_port":443,"network":"xhttp","networkSettings":{"path":"\/x","mode":"auto"},"tls":1,"flow":""` + tail, `node 3 uses network "xhttp"`},
		{"kcp", `{"protocol":"vmess","server_port":443,"network":"kcp","networkSettings":{"header":{"type":"wechat-video"},"seed":"x"},"tls":0` + tail, `networkSettings.header.type is "wechat-video"`},
		{"quic", `{"protocol":"vmess","server_port":443,"network":"quic","networkSettings":null,"tls":0` + tail, `node 3 uses network "quic"`},
		{"encryption", `{"protocol":"vless","server_port":80,"network":"tcp","tls":0,"decryption":"mlkem768x25519plus.native"` + tail, "decryption is set"},
		{"flow over ws", `{"protocol":"vless","server_port":80,"network":"ws","tls":1,"flow":"xtls-rprx-vision"` + tail, `node 3: flow xtls-rprx-vision needs TLS or REALITY right on TCP`},
		{"flow without TLS", `{"protocol":"vless","server_port":80,"network":"tcp","tls":0,"flow":"xtls-rprx-vision"` + tail, `node 3: flow xtls-rprx-vision needs TLS or REALITY right on TCP`},
		{"flow", `{"protocol":"vless","server_port":80,"network":"tcp","tls":0,"flow":"xtls-rprx-direct"` + tail, `node 3 uses flow "xtls-rprx-direct"`},
		{"no protocol", `{"server_port":443,"network":"tcp","tls":0` + tail, "protocol is missing"},
		{"no port", `{"protocol":"vless","network":"tcp","tls":0` + tail, "server_port is missing"},
		{"null port", `{"protocol":"vless","server_port":null,"network":"tcp","tls":0` + tail, "server_port is missing"},
		{"port 0", `{"protocol":"vless","server_port":0,"network":"tcp","tls":0` + tail, "server_port is 0"},
		{"port 70000", `{"protocol":"trojan","server_port":70000,"network":"tcp","tls":0` + tail, "server_port is 70000"},
		{"port text", `{"protocol":"trojan","server_port":"x","network":"tcp","tls":0` + tail, `server_port is "x", must be a number`},
		{"no network", `{"protocol":"vless","server_port":443,"tls":0` + tail, "network is missing"},
		{"no tls", `{"protocol":"vless","server_port":443,"network":"tcp"` + tail, "tls is missing"},
		{"tls 3", `{"protocol":"vless","server_port":443,"network":"tcp","tls":3` + tail, "tls is 3"},
		{"empty", ``, "ends early"},
		{"list", `[]`, "server_port is missing"},
		{"html", `<html>`, "must be an object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := ParseNode([]byte(tt.in), "")
			if err == nil {
				err = n.Check(3)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestParseUsers(t *testing.T) {
	const row = `{"id":1,"uuid":"` + uuid1 + `","speed_limit":null,"device_limit":null}`
	for _, tt := range []struct {
		name, in string
		users    int
		skipped  string
		err      string
	}{
		{"one", `{"users":[` + row + `]}`, 1, "", ""},
		{"none", `{"users":[]}`, 0, "", ""},
		{"holes", `{"users":{"0":` + row + `,"2":{"id":"2","uuid":"x","speed_limit":"12.5"}}}`, 2, "", ""},
		{"twice", `{"users":[` + row + `,` + row + `]}`, 1, "user 1 stands twice", ""},
		{"long uuid", `{"users":[` + row + `,{"id":2,"uuid":"` + strings.Repeat("y", 31) + `"}]}`, 1, "user 2: uuid", ""},
		{"more members", `{"a":[{}],"users":[{"id":1,"uuid":"` + uuid1 + `","x":{"y":[]}}],"b":null}`, 1, "", ""},
		{"no users", `{"user":[]}`, 0, "", "users is missing"},
		{"null", `{"users":null}`, 0, "", "users is missing"},
		{"no id", `{"users":[` + row + `,{"uuid":"a"}]}`, 0, "", "users[1].id is missing"},
		{"no uuid", `{"users":[{"id":5,"uuid":null}]}`, 0, "", "users[0].uuid is missing (user 5)"},
		{"speed", `{"users":[{"id":5,"uuid":"a","speed_limit":"fast"}]}`, 0, "", `speed_limit is "fast"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			users, skipped, err := ParseUsers([]byte(tt.in), "f")
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("err = %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || len(users) != tt.users || !strings.Contains(strings.Join(skipped, ";"), tt.skipped) {
				t.Errorf("users = %+v, skipped %q, err = %v", users, skipped, err)
			}
			for i := range len(tt.in) {
				if _, _, err := ParseUsers([]byte(tt.in[:i]), ""); err == nil {
					t.Fatalf("prefix of %d bytes was taken", i)
				}
			}
		})
	}
}

// FuzzParseNode: what is taken can be served or is named as not served, and no prefix panics.
func FuzzParseNode(f *testing.F) {
	f.Add(`{"protocol":"vless","server_port":443,"network":"ws","networkSettings":{"path":"/x"},"tls":0,"routes":[{"match":{"0":"a"}}]}`)
	f.Add(`{"protocol":"trojan","server_port":"443"}`)
	f.Fuzz(func(t *testing.T, in string) {
		n, err := ParseNode([]byte(in), "")
		if err != nil || n.Check(1) != nil {
			return
		}
		if n.Port == 0 || n.Protocol == "" {
			t.Errorf("taken: %+v", n)
		}
	})
}

// FuzzParseUsers: ids are unique and not zero, credentials are there, limits are not negative.
func FuzzParseUsers(f *testing.F) {
	f.Add(`{"users":[{"id":1,"uuid":"` + uuid1 + `","speed_limit":100,"device_limit":3},{"id":"2","uuid":"b"}]}`)
	f.Fuzz(func(t *testing.T, in string) {
		users, _, err := ParseUsers([]byte(in), "")
		if err != nil {
			return
		}
		seen := make(map[int64]bool)
		for _, u := range users {
			if u.ID == 0 || seen[u.ID] || u.Password == "" || u.SpeedBytes < 0 || u.IPLimit < 0 {
				t.Errorf("taken: %+v", u)
			}
			seen[u.ID] = true
		}
	})
}

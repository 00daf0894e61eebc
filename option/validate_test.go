package option

import (
	"math"
	"strings"
	"testing"
)

// inboundWith is a valid Trojan inbound with more members.
func inboundWith(more string) string {
	return `{"inbounds": [{"type": "trojan", "listen_port": 1, "users": [{"password": "p"}], ` + more + `}]}`
}

// beside puts members beside an inbound that makes the file valid.
func beside(more string) string {
	return `{"inbounds": [{"type": "trojan", "listen_port": 1}], ` + more + `}`
}

const pemPair = `"certificate_path": "c", "key_path": "k"`

const realityKey = "UuMBgl7MXTPx9inmQp2UC7Jcnwc6XYbwDNebonM-FCc"

// withoutPlaces drops " (line 1:2)": decode tests cover it.
func withoutPlaces(err error) []string {
	var out []string
	for _, m := range MistakesOf(err) {
		plain := Mistake{Path: m.Path, Text: m.Text}
		out = append(out, plain.Error())
	}
	return out
}

func testMessages(t *testing.T, tests []messageTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.in))
			compareLines(t, withoutPlaces(err), tt.want)
		})
	}
}

type messageTest struct {
	name, in string
	want     []string
}

func TestInboundMessages(t *testing.T) {
	testMessages(t, []messageTest{
		{"port", `{"inbounds": [{"type": "vless"}]}`, []string{`inbounds[0].listen_port: is required, 1 to 65535`}},
		{"port 0", `{"inbounds": [{"type": "vless", "listen_port": 0}]}`, []string{`inbounds[0].listen_port: is required, 1 to 65535`}},
		{"listen", inboundWith(`"listen": ["all", "1.2.3.4:80", "::1", "::1", "::ffff:10.0.0.1", "10.0.0.1"]`), []string{
			`inbounds[0].listen[0]: "all" stands alone: it is every local address already`,
			`inbounds[0].listen[1]: "1.2.3.4:80" is not an IP address; write one without a port, or "all"`,
			`inbounds[0].listen[3]: ::1 shares the port with inbounds[0].listen[2] (::1); keep one`,
			`inbounds[0].listen[5]: 10.0.0.1 shares the port with inbounds[0].listen[4] (::ffff:10.0.0.1); keep one`,
		}},
		{"wildcards", inboundWith(`"listen": ["::", "0.0.0.0"]`), []string{
			`inbounds[0].listen[1]: 0.0.0.0 shares the port with inbounds[0].listen[0] (::); keep one`,
		}},
		{"timeouts", inboundWith(`"tcp_timeout": "-5s", "udp_timeout": "25h", "handshake_timeout": "5ns"`), []string{
			`inbounds[0].tcp_timeout: is -5s, must be 1s to 168h, or "-1s" for never`,
			`inbounds[0].udp_timeout: is 25h, must be 1s to 24h`,
			`inbounds[0].handshake_timeout: is 5ns, must be 1s to 1m`,
		}},
		{"interface and proxies", inboundWith(`"bind_interface": "a/b", "trusted_proxies": "10.0.0.0/33"`), []string{
			`inbounds[0].bind_interface: is "a/b", must be the name of a network interface such as eth0, at most 15 characters`,
			`inbounds[0].trusted_proxies: is "10.0.0.0/33", must be a CIDR such as 10.0.0.0/8`,
		}},
		{"proxy protocol", inboundWith(`"proxy_protocol": "force"`), []string{
			`inbounds[0].proxy_protocol: is "force", must be off, optional or required`,
		}},
		{"fallback", inboundWith(`"fallback": {"server": "a.example:80"}, "fallback_for_alpn": {"": {"server": "1.2.3.4", "server_port": 1}}`), []string{
			`inbounds[0].fallback.server_port: is required, 1 to 65535`,
			`inbounds[0].fallback.server: is "a.example:80", must be a host name or an IP address, without a port`,
			`inbounds[0].fallback_for_alpn: names the ALPN "", must be a protocol such as "h2" or "http/1.1"`,
			`inbounds[0].fallback_for_alpn: needs TLS: without it no ALPN is negotiated; write fallback, or tls.enabled`,
		}},
		{"fallback by path", inboundWith(`"fallback_for_path": {"/ws": {"server": "1.2.3.4"}, "/a?b": {}, "ws": {}, "": {}, "/ä": {}, "/` + strings.Repeat("a", 1024) + `": {}}`), []string{
			`inbounds[0].fallback_for_path: names the path "", must be one such as "/ws" or "/blog/", escaped and without a query`,
			`inbounds[0].fallback_for_path: names the path "/a?b", must be one such as "/ws" or "/blog/", escaped and without a query`,
			`inbounds[0].fallback_for_path: names a path of 1025 bytes, must be at most 1024`,
			`inbounds[0].fallback_for_path: names the path "/ä", must be one such as "/ws" or "/blog/", escaped and without a query`,
			`inbounds[0].fallback_for_path: names the path "ws", must be one such as "/ws" or "/blog/", escaped and without a query`,
			`inbounds[0].fallback_for_path["/ws"].server_port: is required, 1 to 65535`,
		}},
		{"mux", inboundWith(`"multiplex": {"enabled": true, "brutal": {"enabled": true}}`), []string{
			`inbounds[0].multiplex.brutal: is not served by this version; clients that ask for it are told so`,
		}},
		{"tags", `{"inbounds": [{"type": "trojan", "tag": "a", "listen_port": 1}, {"type": "trojan", "tag": "a", "listen_port": 2}]}`, []string{
			`inbounds[1].tag: "a" is also the tag of inbounds[0]; tags must be unique`,
		}},
		{"clash", `{"inbounds": [{"type": "trojan", "listen_port": 1}, {"type": "vless", "tag": "v", "listen_port": 1, "listen": "10.0.0.1"}]}`, []string{
			`inbounds[1].listen_port: port 1 of 10.0.0.1 is already taken by inbounds[0] ("trojan")`,
		}},
		{"no clash", `{"inbounds": [{"type": "trojan", "listen_port": 1, "listen": "0.0.0.0", "bind_interface": "a"}, {"type": "vless", "listen_port": 1, "bind_interface": "b"},
			{"type": "vless", "listen_port": 2, "listen": "0.0.0.0"}, {"type": "vless", "listen_port": 2, "listen": "::1"}]}`, nil},
	})
}

func TestTLSMessages(t *testing.T) {
	testMessages(t, []messageTest{
		{"disabled", inboundWith(`"tls": {"enabled": false, "min_version": "9", "server_name": "a b"}`), nil},
		{"no certificate", inboundWith(`"tls": {"enabled": true}`), []string{
			`inbounds[0].tls.certificate_path: is required with TLS: the PEM file of the certificate chain (or certificate, with the PEM itself)`,
			`inbounds[0].tls.key_path: is required with TLS: the PEM file of the private key (or key, with the PEM itself)`,
		}},
		{"half", inboundWith(`"tls": {"enabled": true, "key_path": "k"}`), []string{
			`inbounds[0].tls.certificate_path: is required beside a key: the PEM file of its certificate chain (or certificate, with the PEM itself)`,
		}},
		{"other half", inboundWith(`"tls": {"enabled": true, "certificate": "/etc/cert.pem"}`), []string{
			`inbounds[0].tls.key_path: is required beside a certificate: the PEM file of its private key (or key, with the PEM itself)`,
			`inbounds[0].tls.certificate: is not PEM text (-----BEGIN CERTIFICATE-----); a file goes into certificate_path`,
		}},
		{"both", inboundWith(`"tls": {"enabled": true, ` + pemPair + `, "certificate": "-----BEGIN C", "key": "-----BEGIN K"}`), []string{
			`inbounds[0].tls.certificate_path: is set beside certificate; keep one`,
			`inbounds[0].tls.key_path: is set beside key; keep one`,
		}},
		{"names", inboundWith(`"tls": {"enabled": true, ` + pemPair + `, "server_name": "https://a", "alpn": ["", "h2"], "min_version": "1.3", "max_version": "1.2",
			"curve_preferences": ["x25519", "P-256"]}`), []string{
			`inbounds[0].tls.server_name: is "https://a", must be a host name or an IP address, without a port`,
			`inbounds[0].tls.alpn[0]: has 0 bytes, must be a protocol of 1 to 255 bytes such as "http/1.1"`,
			`inbounds[0].tls.min_version: is 1.3, must not be above max_version, 1.2`,
			`inbounds[0].tls.curve_preferences[1]: is "P-256", did you mean "P256"? known: P256, P384, P521, X25519, X25519MLKEM768`,
		}},
		{"reality", inboundWith(`"tls": {"enabled": true, ` + pemPair + `, "max_version": "1.2", "reality": {"enabled": true, "handshake": {"server": "a b", "xver": 3},
			"private_key": "x", "short_id": ["0", "zz", "0123456789abcdef01"], "server_names": "*.example", "max_time_difference": "100h", "min_client_version": "2", "max_client_version": "1.8.256"}}`), []string{
			`inbounds[0].tls.certificate_path: stands beside reality, which needs no certificate; remove certificate and key, or reality`,
			`inbounds[0].tls.max_version: is 1.2, but REALITY is TLS 1.3`,
			`inbounds[0].tls.reality.handshake.server: is "a b", must be a host name or an IP address, without a port`,
			`inbounds[0].tls.reality.handshake.xver: is 3, must be 0, 1 or 2`,
			`inbounds[0].tls.reality.private_key: must be the base64 of 32 bytes, as heki generate reality-keypair prints it`,
			`inbounds[0].tls.reality.short_id[0]: is "0", must be an even number of hex digits, at most 16`,
			`inbounds[0].tls.reality.short_id[1]: is "zz", must be hex digits: 0 to 9, a to f`,
			`inbounds[0].tls.reality.short_id[2]: is "0123456789abcdef01", must be an even number of hex digits, at most 16`,
			`inbounds[0].tls.reality.server_names: is "*.example", must be a host name`,
			`inbounds[0].tls.reality.max_time_difference: is 100h, must be 1s to 24h, or 0s for any`,
			`inbounds[0].tls.reality.max_client_version: is "1.8.256", must be up to three numbers of at most 255, such as 1.8.0`,
		}},
		{"reality alone", inboundWith(`"tls": {"enabled": true, "reality": {"enabled": true}}`), []string{
			`inbounds[0].tls.reality.handshake.server: is required: a host name or an IP address of a site with TLS 1.3 and HTTP/2`,
			`inbounds[0].tls.reality.private_key: is required: the PrivateKey that heki generate reality-keypair prints`,
		}},
		{"reality address", inboundWith(`"tls": {"enabled": true, "reality": {"enabled": true, "handshake": {"server": "192.0.2.1"}, "private_key": "` + realityKey + `", "min_client_version": "2", "max_client_version": "1.8"}}`), []string{
			`inbounds[0].tls.reality.server_names: is required: the names that clients send, each in the certificate of handshake.server (or tls.server_name, for one)`,
			`inbounds[0].tls.reality.min_client_version: is 2, must not be above max_client_version, 1.8`,
		}},
		{"reality of Xray", inboundWith(`"tls": {"enabled": true, "reality": {"enabled": true, "dest": "a:443", "handshake": {"server": "a.example"}, "private_key": "` + realityKey + `"}}`), []string{
			`inbounds[0].tls.reality.dest: is Xray's; write handshake with server and server_port`,
		}},
		{"reality is off", inboundWith(`"tls": {"enabled": true, ` + pemPair + `, "reality": {"enabled": false}}`), nil},
		{"version", inboundWith(`"tls": {"enabled": true, ` + pemPair + `, "min_version": "tls12"}`), []string{
			`inbounds[0].tls.min_version: is "tls12", must be one of 1.0, 1.1, 1.2, 1.3`,
		}},
		{"ciphers", inboundWith(`"tls": {"enabled": true, ` + pemPair + `, "cipher_suites": ["TLS_RSA_WITH_RC4_128_SHA", "TLS_AES_128_GCM_SHA265"]}`), []string{
			`inbounds[0].tls.cipher_suites[0]: is "TLS_RSA_WITH_RC4_128_SHA", which is insecure and refused; known: ` + strings.Join(cipherNames(), ", "),
			`inbounds[0].tls.cipher_suites[1]: is "TLS_AES_128_GCM_SHA265", did you mean "TLS_AES_128_GCM_SHA256"? known: ` + strings.Join(cipherNames(), ", "),
		}},
	})
}

func TestTransportMessages(t *testing.T) {
	in := func(members string) string { return inboundWith(`"transport": {` + members + `}`) }
	testMessages(t, []messageTest{
		{"none", in(``), nil},
		{"no type", in(`"path": "/"`), []string{`inbounds[0].transport.type: is required; served: grpc, http, httpupgrade, tcp_http_header, ws; leave transport out for plain TCP`}},
		{"foreign option", in(`"type": "grpc", "path": "/", "mode": "auto"`), []string{
			`inbounds[0].transport.path: is not an option of grpc, whose are service_name, idle_timeout, ping_timeout, permit_without_stream`,
			`inbounds[0].transport.mode: makes no sense here: heki does not serve xhttp`,
		}},
		{"service name", in(`"type": "grpc", "service_name": "/a/"`), []string{
			`inbounds[0].transport.service_name: is "/a/", must end with a stream name: "/service/Tun" or "/service/Tun|TunMulti"`,
		}},
		{"method", in(`"type": "http", "method": "put", "idle_timeout": "1ms", "path": "?ed=1"`), []string{
			`inbounds[0].transport.method: is "put", must be an HTTP method such as PUT`,
			`inbounds[0].transport.idle_timeout: is 1ms, must be 1s to 24h`,
			`inbounds[0].transport.path: is "?ed=1", must have no query`,
		}},
		{"several paths", in(`"type": "tcp_http_header", "paths": ["a", "/b?c"], "host": ["a", "b:1"]`), []string{
			`inbounds[0].transport.paths[1]: is "/b?c", must be a URL path without spaces, control characters, ? and #`,
			`inbounds[0].transport.host[1]: is "b:1", must be a host name, without a port`,
		}},
		{"quic", in(`"type": "quic"`), []string{`inbounds[0].transport.type: "quic" is not served by heki; served: grpc, http, httpupgrade, tcp_http_header, ws; leave transport out for plain TCP`}},
		{"path", in(`"type": "ws", "path": "a b"`), []string{`inbounds[0].transport.path: is "a b", must be a URL path without spaces, control characters and #`}},
		{"query", in(`"type": "ws", "path": "/a?x=1"`), []string{`inbounds[0].transport.path: is "/a?x=1", must have no query but ?ed=N, N the bytes of early data`}},
		{"two sizes", in(`"type": "ws", "path": "/a?ed=1", "max_early_data": 2`), []string{`inbounds[0].transport.path: says ?ed=1, but max_early_data is 2; keep one`}},
		{"headers", in(`"type": "ws", "host": "a:1", "early_data_header_name": "a b", "headers": {"a b": "x", "ok": ["a", "b\r\nc"]}`), []string{
			`inbounds[0].transport.host: is "a:1", must be a host name, without a port`,
			`inbounds[0].transport.early_data_header_name: is "a b", must be the name of an HTTP header such as Sec-WebSocket-Protocol`,
			`inbounds[0].transport.headers["a b"]: must have the name of an HTTP header: letters, digits and -`,
			`inbounds[0].transport.headers.ok[1]: holds a line break or a zero byte, must be one line`,
		}},
	})
}

func TestUserMessages(t *testing.T) {
	vless := func(users string) string {
		return `{"inbounds": [{"type": "vless", "listen_port": 1, "users": [` + users + `]}]}`
	}
	flow := func(more string) string {
		return `{"inbounds": [{"type": "vless", "listen_port": 1, "users": [{"uuid": "a", "flow": "xtls-rprx-vision"}], ` + more + `}]}`
	}
	const id = "b831381d-6324-4d53-ad4f-8cda48b30811"
	testMessages(t, []messageTest{
		{"uuid twice", vless(`{"uuid": "` + id + `"}, {"uuid": "` + strings.ToUpper(strings.ReplaceAll(id, "-", "")) + `"}`), []string{
			`inbounds[0].users[1].uuid: is also the uuid of inbounds[0].users[0]; no two users may share one`,
		}},
		{"name, id, flow", vless(`{"uuid": "a", "name": "x", "id": 7, "flow": "xtls-rprx-direct"}, {"uuid": "b", "name": "x", "id": 7}, {"uuid": "c", "id": -1, "name": "a\nb"}`), []string{
			`inbounds[0].users[0].flow: is "xtls-rprx-direct", must be "xtls-rprx-vision" or left out`,
			`inbounds[0].users[1].name: "x" is also the name of inbounds[0].users[0]; no two users may share one`,
			`inbounds[0].users[1].id: 7 is also the id of inbounds[0].users[0]; no two users may share one`,
			`inbounds[0].users[2].id: is -1, must be 1 or more, or left out`,
			`inbounds[0].users[2].name: holds the character U+000A, must be printable text`,
		}},
		{"flow without TLS", vless(`{"uuid": "a"}, {"uuid": "b", "flow": "xtls-rprx-vision"}, {"uuid": "c", "flow": "xtls-rprx-vision"}`), []string{
			`inbounds[0].users[1].flow: needs TLS 1.3 or REALITY right on TCP, but tls is not enabled`,
		}},
		{"flow over ws", flow(`"tls": {"enabled": true, "certificate_path": "c", "key_path": "k"}, "transport": {"type": "ws"}`), []string{
			`inbounds[0].users[0].flow: needs TLS 1.3 or REALITY right on TCP, but transport is ws`,
		}},
		{"testseed", `{"inbounds": [{"type": "vless", "listen_port": 1, "tls": {"enabled": true, "certificate_path": "c", "key_path": "k"}, "users": [
			{"uuid": "a", "testseed": [1, 2, 3, 4]}, {"uuid": "b", "flow": "xtls-rprx-vision", "testseed": [1, 2, 3]},
			{"uuid": "c", "flow": "xtls-rprx-vision", "testseed": [1, 0, 3, 4]}, {"uuid": "d", "flow": "xtls-rprx-vision", "testseed": [1, 2, 8172, 4]},
			{"uuid": "e", "flow": "xtls-rprx-vision", "testseed": [0, 1, 0, 8171]}]}]}`, []string{
			`inbounds[0].users[0].testseed: is for Vision: write flow "xtls-rprx-vision" too, or leave it out`,
			`inbounds[0].users[1].testseed: is [1 2 3], must be four lengths such as [900, 500, 900, 256], 0 to 8171, the second and the fourth at least 1`,
			`inbounds[0].users[2].testseed: is [1 0 3 4], must be four lengths such as [900, 500, 900, 256], 0 to 8171, the second and the fourth at least 1`,
			`inbounds[0].users[3].testseed: is [1 2 8172 4], must be four lengths such as [900, 500, 900, 256], 0 to 8171, the second and the fourth at least 1`,
		}},
		{"flow over TLS 1.2", flow(`"tls": {"enabled": true, "certificate_path": "c", "key_path": "k", "max_version": "1.2"}`), []string{
			`inbounds[0].users[0].flow: needs TLS 1.3 or REALITY right on TCP, but tls.max_version is 1.2`,
		}},
		{"an id as another's name", vless(`{"uuid": "a", "name": "7"}, {"uuid": "b", "id": 7}`), []string{
			`inbounds[0].users[1].id: "7" is also the name of inbounds[0].users[0]; write another name`,
		}},
		{"passwords", `{"inbounds": [{"type": "trojan", "listen_port": 1, "users": [{"password": ""}, {"password": "x"}, {"password": "x"}]}]}`, []string{
			`inbounds[0].users[0].password: is required, any text that is not empty`,
			`inbounds[0].users[2].password: is also the password of inbounds[0].users[1]; no two users may share one`,
		}},
		{"limits", vless(`{"uuid": "a", "speed_limit_mbps": -1, "ip_limit": -1, "conn_limit": 1000001}`), []string{
			`inbounds[0].users[0].speed_limit_mbps: is -1, must be 0 to 1000000 Mbit/s (0 is unlimited)`,
			`inbounds[0].users[0].ip_limit: is -1, must be 0 to 1000000 (0 is unlimited)`,
			`inbounds[0].users[0].conn_limit: is 1000001, must be 0 to 1000000 (0 is unlimited)`,
		}},
		{"other programs' keys", vless(`{"uuid": "a", "email": "x@y", "alterId": 0, "encryption": "none"}`), []string{
			`inbounds[0].users[0].email: is Xray's; write name`,
		}},
	})
}

func TestPanelMessages(t *testing.T) {
	panel := func(members string) string { return `{"panels": [{` + members + `}]}` }
	const xboard = `"type": "xboard", "url": "https://p.example", "key": "k", "nodes": [{"id": 1}]`
	testMessages(t, []messageTest{
		{"no type", panel(`"url": "https://p.example", "key": "k", "nodes": [{"id": 1}]`), nil},
		{"no type and a version", panel(`"url": "https://p.example", "key": "k", "nodes": [{"id": 1}], "api_version": 1`), []string{
			`panels[0].api_version: needs type, which says whose version it is; served: xboard, v2board, xiaov2board, sspanel, ppanel, local`,
		}},
		{"ssr", panel(`"type": "xboard", "url": "https://a", "key": "k", "nodes": [ { "id": 1, "mu_suffix": "a.com" } ]`), []string{
			`panels[0].nodes[0]: has settings of ShadowsocksR (mu_regex, mu_suffix, ssr_cid_limit, ss_obfs_udp), which xboard has not`,
		}},
		{"later", panel(`"type": "metron"`), []string{`panels[0].type: "metron" is unknown; served: xboard, v2board, xiaov2board, sspanel, ppanel, local`}},
		{"empty xboard", panel(`"type": "xboard", "path": "x", "api_version": 3`), []string{
			`panels[0].key: is required, the server token of the panel's settings`,
			`panels[0].nodes: is required, at least one node: [ { "id": 1 } ]`,
			`panels[0].url: is required, an address such as https://panel.example.org`,
			`panels[0].path: is only for panels of type local; leave it out`,
			`panels[0].api_version: is 3, must be 1 to 2`,
		}},
		{"machine", panel(`"type": "xboard", "url": "https://p.example", "key": "k", "machine_id": 4`), nil},
		{"machine without key", panel(`"type": "xboard", "url": "https://p.example", "machine_id": -4, "api_version": 1`), []string{
			`panels[0].key: is required, the machine's own token`,
			`panels[0].machine_id: is -4, must be the machine's number on the panel, 1 or more`,
		}},
		{"machine of version 1", panel(`"type": "xboard", "url": "https://p.example", "key": "k", "machine_id": 4, "api_version": 1`), []string{
			`panels[0].machine_id: needs api_version 2, the default; version 1 has no machines`,
		}},
		{"machine of another panel", panel(`"url": "https://p.example", "key": "k", "machine_id": 4`), []string{
			`panels[0].machine_id: is only for panels of type xboard; write "type": "xboard", or leave it out and list nodes`,
		}},
		{"local", panel(`"type": "local", "url": "x", "key": "x", "api_version": 1`), []string{
			`panels[0].path: is required, the file of nodes and users`,
			`panels[0].url: is only for panels with an API; leave it out`,
			`panels[0].key: is only for panels with an API; leave it out`,
			`panels[0].api_version: is only for panels with an API; leave it out`,
		}},
		{"names", `{"panels": [{"name": "a", ` + xboard + `}, {"name": "a", ` + xboard + `}, {"name": "a/b", ` + xboard + `}]}`, []string{
			`panels[1].name: "a" is also the name of panels[0]; names must be unique`,
			`panels[2].name: is "a/b", must be 1 to 64 letters, digits, "-", "_" and "."`,
		}},
		{"times", panel(xboard + `, "sync_interval": "1s", "report_interval": "2h", "timeout": "1ms"`), []string{
			`panels[0].sync_interval: is 1s, must be 5s to 1h`,
			`panels[0].report_interval: is 2h, must be 5s to 1h`,
			`panels[0].timeout: is 1ms, must be 1s to 2m`,
		}},
		{"nodes", panel(`"type": "xboard", "url": "http://p/sub", "key": "k", "nodes": [{"id": 1}, {"id": 1}, {"id": 0, "type": "tuic"}]`), []string{
			`panels[0].nodes[1].id: 1 is also the id of panels[0].nodes[0]; a node stands once`,
			`panels[0].nodes[2].id: is 0, must be the node's number on the panel, 1 or more`,
			`panels[0].nodes[2].type: "tuic" is not served by heki; served: anytls, hysteria2, shadowsocks, shadowsocksr, trojan, vless, vmess`,
		}},
		{"ruled by the panel", panel(`"type": "xboard", "url": "http://p", "key": "k", "node_defaults": {"listen_port": 1},
			"nodes": [{"id": 1, "listen_port": 443, "transport": {"type": "ws"}, "tls": {"enabled": true, "key_path": "k"}, "users": [{}], "listen": "1.2.3"}]`), []string{
			`panels[0].node_defaults.listen_port: is ruled by the panel; leave it out`,
			`panels[0].nodes[0].listen_port: is ruled by the panel; leave it out`,
			`panels[0].nodes[0].transport: is ruled by the panel; leave it out`,
			`panels[0].nodes[0].tls.certificate_path: is required beside a key: the PEM file of its certificate chain (or certificate, with the PEM itself)`,
			`panels[0].nodes[0].tls.enabled: is ruled by the panel; leave it out`,
			`panels[0].nodes[0].users: makes no sense here: the users of a node come from the panel`,
			`panels[0].nodes[0].listen: "1.2.3" is not an IP address; write one without a port, or "all"`,
		}},
	})
}

func TestPanelURL(t *testing.T) {
	for text, want := range map[string]string{
		"https://p.example":         "",
		"http://p.example:8080/sub": "",
		"":                          "is required, an address such as https://panel.example.org",
		"p.example":                 "has no scheme http or https, must be an address such as https://panel.example.org",
		"ftp://p.example":           "has no scheme http or https, must be an address such as https://panel.example.org",
		"https://":                  "has no host, must be an address such as https://panel.example.org",
		"https://:80":               "has no host, must be an address such as https://panel.example.org",
		"https://p.example\x7f":     "is not a URL, must be an address such as https://panel.example.org",
		"https://u:secret@p":        "holds a user name; the secret goes into key",
		"https://p?key=secret":      "has a query or a fragment; end it after the path",
	} {
		got := ""
		if err := checkURL(text); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestOtherMessages(t *testing.T) {
	testMessages(t, []messageTest{
		{"log", beside(`"log": {"level": "verbose", "format": "xml", "retention_days": 3651, "dir": "d", "output": "o"}`), []string{
			`log.level: is "verbose", must be one of debug, info, warn, error`,
			`log.format: is "xml", must be one of text, json`,
			`log.retention_days: is 3651, must be 1 to 3650`,
			`log.output: is set beside dir; keep dir for daily files or output for one file`,
		}},
		{"geo", beside(`"route": {"geo": {"dir": "geo", "update": "off"}}`), []string{
			`route.geo.dir: is "geo", must be an absolute path such as /var/lib/heki/geo`,
		}},
		{"traffic and state", beside(`"traffic": {"on_ambiguous": "keep"}, "state_dir": "state"`), []string{
			`traffic.on_ambiguous: is "keep", must be one of hold, retry, drop`,
			`state_dir: is "state", must be an absolute path such as /var/lib/heki`,
		}},
		{"limits", beside(`"limits": {"user_speed_mbps": -1, "node_speed_mbps": 1e7, "user_ips": -1, "user_conns": -1, "ip_expiry": "25h", "cidr_v4": 7, "cidr_v6": 129,
			"report": {"min_traffic_kb": -1, "min_online_kb": -2}, "dynamic": {"x": 1}}`), []string{
			`limits.user_speed_mbps: is -1, must be 0 to 1000000 Mbit/s (0 is unlimited)`,
			`limits.node_speed_mbps: is 1e+07, must be 0 to 1000000 Mbit/s (0 is unlimited)`,
			`limits.user_ips: is -1, must be 0 to 1000000 (0 is unlimited)`,
			`limits.user_conns: is -1, must be 0 to 1000000 (0 is unlimited)`,
			`limits.ip_expiry: is 25h, must be 1s to 24h`,
			`limits.cidr_v4: is 7, must be 8 to 32`,
			`limits.cidr_v6: is 129, must be 32 to 128`,
			`limits.report.min_traffic_kb: is -1, must be 0 to 1073741824`,
			`limits.report.min_online_kb: is -2, must be 0 to 1073741824`,
			`limits.dynamic: is not served by this version`,
		}},
		{"route", beside(`"outbounds": [{"type": "direct", "tag": "hk"}], "route": {"sniff": "dns", "forbid_ports": "25,0", "whitelist": [" "], "audit": ["a", ""],
			"rules": [{}, {"match": "*", "outbound": "kh"}, {"domain": ["a"], "outbound": "zzzz"}], "final": "directt", "rule_set": [1]}`), []string{
			`route.sniff: is "dns", must be one of tls, http, quic`,
			`route.forbid_ports: holds "0", must be ports and ranges from 1 to 65535 such as "25,465,1000-2000"`,
			`route.whitelist: is empty, must be a rule line such as "domain:example.org"; "*" matches everything`,
			`route.audit[1]: is empty, must be a rule line such as "domain:example.org"; "*" matches everything`,
			`route.rules[0].match: is required, at least one rule line such as "domain:example.org" or "*"`,
			`route.rules[0].outbound: is required, the tag of an outbound such as "direct" or "block"`,
			`route.rules[1].outbound: no outbound has the tag "kh"; there are direct, block, hk`,
			`route.rules[2].domain: is sing-box's; write a line of match: "full:example.org"`,
			`route.rules[2].outbound: no outbound has the tag "zzzz"; there are direct, block, hk`,
			`route.final: no outbound has the tag "directt", did you mean "direct"?`,
			`route.rule_set: is not served by this version; write the lines into rules[].match`,
		}},
		{"direct", beside(`"outbounds": [{"type": "direct", "bind": "a b", "bind_interface": "eth0", "inet4_bind_address": "::1", "inet6_bind_address": "1.2.3.4",
			"connect_timeout": "1ms", "routing_mark": "x", "detour": "y"}]`), []string{
			`outbounds[0].bind: is "a b", must be "inbound", an IP address or the name of a network interface`,
			`outbounds[0].bind: stands beside bind_interface, inet4_bind_address or inet6_bind_address; keep one way`,
			`outbounds[0].inet4_bind_address: is "::1", must be an IPv4 address`,
			`outbounds[0].inet6_bind_address: is "1.2.3.4", must be an IPv6 address`,
			`outbounds[0].connect_timeout: is 1ms, must be 100ms to 2m`,
			`outbounds[0].routing_mark: is "x", must be a whole number from 0 to 4294967295 or hex text such as "0x1f"`,
			`outbounds[0].detour: is not served by this version; a direct outbound dials itself`,
		}},
		{"dns", beside(`"dns": {"servers": [{"tag": "a", "address": "system"}, {"tag": "a", "address": "dot://1.1.1.1", "strategy": "v4"}, {"type": "udp", "server": "1.1.1.1"}],
			"final": ["a", "a", "b"], "strategy": "ipv5", "cache": {"ttl": "25h", "size": -1}, "rules": [{}, {"match": "a", "servers": ["a", "c"], "strategy": "v6", "domain_suffix": "x.org"}, {"match": ["a", " "], "servers": "a"}]}`), []string{
			`dns.servers[1].tag: "a" is also the tag of dns.servers[0]; tags must be unique`,
			`dns.servers[1].address: is "dot://1.1.1.1", must be "system", or an IP address or host with an optional port, after udp://, tcp://, tls://, quic:// or nothing, or like "https://dns.google/dns-query" or "h3://dns.google/dns-query"`,
			`dns.servers[1].strategy: is "v4", must be one of ipv4_first, ipv4_only, ipv6_first, ipv6_only`,
			`dns.servers[2].type: is not served; write address with its scheme: "udp://8.8.8.8", "tls://1.1.1.1", "https://dns.google/dns-query" or "system"`,
			`dns.servers[2].server: is not served; write address: "8.8.8.8"`,
			`dns.final[1]: "a" stands here twice; a server is tried once`,
			`dns.final[2]: no server has the tag "b"; there are a`,
			`dns.strategy: is "ipv5", must be one of ipv4_first, ipv4_only, ipv6_first, ipv6_only`,
			`dns.cache.ttl: is 25h, must be 1s to 24h`,
			`dns.cache.size: is -1, must be 1 to 1048576`,
			`dns.rules[0].match: is required, at least one rule line such as "domain:example.org"`,
			`dns.rules[0].servers: is required, tags of dns.servers`,
			`dns.rules[1].servers[1]: no server has the tag "c"; there are a`,
			`dns.rules[1].strategy: is "v6", must be one of ipv4_first, ipv4_only, ipv6_first, ipv6_only`,
			`dns.rules[1].domain_suffix: is sing-box's; write a line of match: "domain:example.org"`,
			`dns.rules[2].match[1]: is empty, must be a rule line such as "domain:example.org"; "*" matches everything`,
		}},
	})
}

func TestHosts(t *testing.T) {
	for _, good := range []string{"a", "localhost", "a-b.example.org.", "_dns.example", "xn--fiq228c", "1.2.3.4", "::1", "3com.example"} {
		if err := hostName("x", good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{
		"", ".", "a..b", "-a", "a-", "1.2.3", "1.2.3.4.5", "256.1.1.1", "a b", "a/b", "a:1", "[::1]", "例子",
		strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a",
	} {
		if err := hostName("x", bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestMbpsToBytes(t *testing.T) {
	for mbps, want := range map[float64]int64{
		0: 0, -1: 0, 1: 125_000, 0.1: 12_500, 100: 12_500_000, 1e-9: 1, math.Inf(1): math.MaxInt64, 1e300: math.MaxInt64,
	} {
		if got := MbpsToBytes(mbps); got != want {
			t.Errorf("%g Mbit/s: got %d, want %d", mbps, got, want)
		}
	}
	if got := MbpsToBytes(math.NaN()); got != 0 {
		t.Errorf("NaN: got %d", got)
	}
}

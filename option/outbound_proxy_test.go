package option

import (
	"strings"
	"testing"
)

// outWith is a file with one outbound of a type and these members.
func outWith(typ, members string) string {
	return `{"inbounds": [{"type": "trojan", "listen_port": 1}], "outbounds": [{"type": "` + typ + `", "server": "a.example", "server_port": 1` + members + `}]}`
}

func TestProxyOutboundMistakes(t *testing.T) {
	for _, tt := range []struct {
		typ, members string
		want         []string
	}{
		{"socks", `, "version": "6"`, []string{`version: is "6", must be one of 4, 4a, 5`}},
		{"socks", `, "version": "4", "password": "p", "network": "udp"`, []string{
			`password: is for version 5; version 4 sends a user name only`, `network: leaves only udp, which version 4 has not`,
		}},
		{"socks", `, "password": "hush"`, []string{`username: is required beside a password`}},
		{"socks", `, "username": "` + strings.Repeat("u", 256) + `", "password": "` + strings.Repeat("p", 256) + `"`, []string{
			`username: has 256 bytes, must have at most 255`, `password: has 256 bytes, must have at most 255`,
		}},
		{"socks", `, "udp_over_tcp": true, "bind": "eth0", "detour": "b", "network": ["tcp", "tcp"]`, []string{
			`udp_over_tcp: is not served by this version`,
			`bind: is a direct outbound's; write bind_interface, inet4_bind_address or inet6_bind_address`,
			`detour: is not served by this version; an outbound dials its server itself`, `network[1]: names tcp again`,
		}},
		{"socks", `, "udp_over_tcp": false, "multiplex": {"enabled": false}`, nil},
		{"http", `, "username": "a:b", "headers": {"Host": "x", "a b": "c", "X": "a\nb"}`, []string{
			`username: holds a colon, which ends it in HTTP's basic authentication`, `headers.Host: is heki's to write`,
			`headers["a b"]: must have the name of an HTTP header`, `headers.X: holds a line break`,
		}},
		{"http", `, "password": "hush", "path": "/x", "network": "tcp"`, []string{
			`username: is required beside a password`, `path: is not served by this version`, `network: makes no sense here: an HTTP proxy carries TCP only`,
		}},
		{"http", `, "tls": {"enabled": true, "certificate": "x", "certificate_path": "y", "min_version": "1.3", "max_version": "1.2", "key_path": "k", "ech": {"enabled": true}, "reality": {"enabled": true}}`, []string{
			`tls.certificate: is not PEM text`, `tls.certificate_path: is set beside certificate; keep one`,
			`tls.min_version: is 1.3, must not be above max_version, 1.2`, `tls.key_path: makes no sense here: it belongs into a server's configuration`,
			`tls.ech: is not served by this version`, `tls.reality: is not served by this version in an outbound`,
		}},
		{"trojan", `, "tls": {"enabled": true, "max_version": "1.2", "utls": {"enabled": true, "fingerprint": "chrom"}}`, []string{
			`password: is required, the password of a user of the server`,
			`tls.max_version: stands beside utls, whose fingerprint decides it; keep one`, `tls.utls.fingerprint: is "chrom", did you mean "chrome"?`,
		}},
		{"trojan", `, "password": "hush", "multiplex": {"enabled": true}, "transport": {"type": "quic"}`, []string{
			`multiplex: is not served by this version`, `transport.type: "quic" is not served by heki`,
		}},
		{"vless", `, "uuid": "", "flow": "xtls-rprx-vision", "packet_encoding": "xup", "encryption": "none"`, []string{
			`uuid: is required`, `flow: is not served by this version in an outbound`, `packet_encoding: is "xup", did you mean "xudp"?`,
		}},
		{"vless", `, "uuid": "alice", "flow": "", "packet_encoding": "", "tls": {"enabled": false, "min_version": "9"}`, nil},
		{"redirect", `, "bind": "inbound"`, nil},
		{"redirect", `, "bind": "inbound", "bind_interface": "eth0", "detour": "x"`, []string{`bind: stands beside bind_interface`, `detour: is not served by this version`}},
	} {
		_, err := Parse([]byte(outWith(tt.typ, tt.members)))
		if err == nil && len(tt.want) > 0 || err != nil && len(tt.want) == 0 {
			t.Errorf("%s%s: %v", tt.typ, tt.members, err)
			continue
		}
		got := lines(err)
		if len(got) != len(tt.want) {
			t.Errorf("%s%s: %d mistakes, want %d:\n%v", tt.typ, tt.members, len(got), len(tt.want), err)
		}
		for _, want := range tt.want {
			place, text, _ := strings.Cut(want, ": ")
			found := false
			for _, line := range got {
				found = found || strings.HasPrefix(line, "outbounds[0]."+place+" (") && strings.Contains(line, "): "+text)
			}
			if !found {
				t.Errorf("%s%s: no mistake %q in\n%v", tt.typ, tt.members, want, err)
			}
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the mistake tells the password: %v", tt.typ, err)
		}
	}
}

func TestProxyOutboundPlace(t *testing.T) {
	_, err := Parse([]byte(`{"inbounds": [{"type": "trojan", "listen_port": 1}], "outbounds": [{"type": "socks"}, {"type": "redirect"}]}`))
	for _, want := range []string{
		"outbounds[0].server (line 1:68): is required", "outbounds[0].server_port (line 1:68): is required", "outbounds[1].server (line 1:87): is required",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no mistake %q in\n%v", want, err)
		}
	}
}

// The options whose outbounds are served elsewhere.
func TestOutboundsOfOtherShapes(t *testing.T) {
	at := Remote{Server: "a.example", ServerPort: 1}
	for _, tt := range []struct {
		name string
		o    OutboundOptions
		want string // "": no mistake
	}{
		{"vmess", &VMessOutbound{Remote: at, UUID: "alice"}, ""},
		{"security", &VMessOutbound{Remote: at, UUID: "alice", Security: "aes"}, `security: is "aes"`},
		{"alter id", &VMessOutbound{Remote: at, UUID: "alice", AlterID: -1}, "alter_id: is -1, must be 0 to 1024"},
		{"md5", &VMessOutbound{Remote: at, UUID: "alice", AlterID: 4}, "alter_id: is 4, which asks for MD5 authentication"},
		{"encoding", &VMessOutbound{Remote: at, UUID: "alice", PacketEncoding: "x"}, "packet_encoding: "},
		{"aead", &ShadowsocksOutbound{Remote: at, Method: "AES-128-GCM", Password: "p"}, ""},
		{"no password", &ShadowsocksOutbound{Remote: at, Method: "aes-128-gcm"}, "password: is required"},
		{"2022", &ShadowsocksOutbound{Remote: at, Method: "2022-blake3-aes-128-gcm", Password: "MjQ5MjBkZWNmODNmNjk2MA==:YjgzMTM4MWQtNjMyNC00ZA=="}, ""},
		{"2022, a bad key", &ShadowsocksOutbound{Remote: at, Method: "2022-blake3-aes-128-gcm", Password: "MjQ5MjBkZWNmODNmNjk2MA==:x"}, "password: must be base64 of 16 bytes"},
		{"2022, too many", &ShadowsocksOutbound{Remote: at, Method: "2022-blake3-chacha20-poly1305", Password: "a:b"}, "password: has 2 keys"},
		{"method", &ShadowsocksOutbound{Remote: at, Method: "rc4-md5", Password: "p"}, "method: "},
	} {
		err := tt.o.Validate("x")
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), "x."+tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

package option

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func hysteria2With(more string) string {
	return `{"inbounds": [{"type": "hysteria2", "listen": "::", "listen_port": 8443, "users": [{"name": "sekai", "password": "goofy_ahh_password"}],
		"tls": {"enabled": true, "server_name": "a.example", "certificate_path": "/c.pem", "key_path": "/k.pem"}` + more + `}]}`
}

func TestHysteria2(t *testing.T) {
	for in, want := range map[string]Hysteria2{ // as sing-box takes them
		``: {},
		`, "up_mbps": 100, "down_mbps": 50, "ignore_client_bandwidth": false, "brutal_debug": false, "bbr_profile": "standard"`: {UpMbps: 100, DownMbps: 50, Hysteria2Local: Hysteria2Local{BBRProfile: "standard"}},
		`, "obfs": {"type": "salamander", "password": "cry_me_a_r1ver"}`:                                                        {Obfs: &Hysteria2Obfs{"salamander", "cry_me_a_r1ver"}},
		`, "masquerade": "https://www.example.org/x"`:                                                                           {Hysteria2Local: Hysteria2Local{Masquerade: &Masquerade{Type: "proxy", URL: "https://www.example.org/x"}}},
		`, "masquerade": "file:///srv/www"`:                                                                                     {Hysteria2Local: Hysteria2Local{Masquerade: &Masquerade{Type: "file", Directory: "/srv/www"}}},
		`, "masquerade": {"type": "string", "status_code": 500, "headers": {"Server": "x"}, "content": "no"}`: {Hysteria2Local: Hysteria2Local{Masquerade: &Masquerade{
			Type: "string", StatusCode: 500, Headers: map[string]Listable[string]{"Server": {"x"}}, Content: "no",
		}}},
		`, "listen_ports": "20000-30000"`: {Hysteria2Local: Hysteria2Local{ListenPorts: Listable[string]{"20000-30000"}}},
		`, "masquerade": {"type": "proxy", "url": "http://127.0.0.1:80", "rewrite_host": true}`: {Hysteria2Local: Hysteria2Local{Masquerade: &Masquerade{Type: "proxy", URL: "http://127.0.0.1:80", RewriteHost: true}}},
	} {
		o, err := Parse([]byte(hysteria2With(in)))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		got, _ := o.Inbounds[0].Options.(*Hysteria2)
		got.Stream, got.Users = Stream{}, nil
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v, want %+v", in, *got, want)
		}
	}
}

func TestHysteria2Mistakes(t *testing.T) {
	for in, want := range map[string]string{
		`, "obfs": {"type": "gecko", "password": "long enough"}`:      `obfs.type`,
		`, "obfs": {"type": "salamander", "password": "abc"}`:         "has 3 bytes, must have 4 to 512",
		`, "masquerade": "ftp://x"`:                                   "must be a URL such as",
		`, "masquerade": "http://a b"`:                                "is no URL",
		`, "masquerade": 3`:                                           "must be an object",
		`, "masquerade": {"type": "file"}`:                            "directory",
		`, "masquerade": {"type": "proxy", "url": "www.example.org"}`: "must be the URL of a site",
		`, "masquerade": {"type": "404"}`:                             "must be file, proxy or string",
		`, "transport": {"type": "ws"}`:                               "which is QUIC",
		`, "fallback": {"server": "a", "server_port": 1}`:             "write masquerade",
		`, "proxy_protocol": "required"`:                              "there is none for QUIC",
		`, "bbr_profile": "fast"`:                                     "bbr_profile",
		`, "listen_ports": ["443", "9-8"]`:                            `is "9-8", must be ports or ranges of ports`,
		`, "listen_ports": "0-8"`:                                     `listen_ports[0]`,
		`, "up_mbps": -1`:                                             "up_mbps",
		`, "brutal_debug": true`:                                      "is not served by this version",
		`, "realm": {"server_url": "x"}`:                              "makes no sense here",
	} {
		if _, err := Parse([]byte(hysteria2With(in))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
	if _, err := Parse([]byte(`{"inbounds": [{"type": "hysteria2", "listen_port": 1}]}`)); err == nil || !strings.Contains(err.Error(), "is required with enabled: true") {
		t.Errorf("without TLS: %v", err)
	}
	// QUIC and TCP share a port.
	if _, err := Parse([]byte(strings.Replace(hysteria2With(``), `[{"type"`, `[{"type": "trojan", "listen_port": 8443}, {"type"`, 1))); err != nil {
		t.Errorf("beside a TCP inbound: %v", err)
	}
}

func TestHysteria2Ports(t *testing.T) {
	for _, tt := range []struct {
		in   Listable[string]
		want string
	}{
		{nil, "[]"},
		{Listable[string]{"443"}, "[443]"},
		{Listable[string]{"20000-30000,443"}, "[443 20000-30000]"},
		{Listable[string]{"20000:30000", " 443 "}, "[443 20000-30000]"},
		{Listable[string]{"5-9", "7-20", "21", "23"}, "[5-21 23]"},
		{Listable[string]{"1-65535", "65535"}, "[1-65535]"},
	} {
		h := Hysteria2Local{ListenPorts: tt.in}
		if got := fmt.Sprint(h.Ports()); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.in, got, tt.want)
		}
	}
}

package option

import (
	"strings"
	"testing"
	"time"
)

func shadowsocksWith(more string) string {
	return `{"inbounds": [{"type": "shadowsocks", "listen": "::", "listen_port": 8388, ` + more + `}]}`
}

// Configurations as sing-box v1.14.1 takes them, without a change.
func TestShadowsocksFiles(t *testing.T) {
	for name, in := range map[string]string{
		"single":    shadowsocksWith(`"method": "aes-128-gcm", "password": "p", "network": "tcp", "multiplex": {"enabled": true}`),
		"users":     shadowsocksWith(`"method": "chacha20-ietf-poly1305", "password": "unused", "users": [{"name": "a", "password": "p"}, {"name": "b", "password": "q"}]`),
		"2022":      shadowsocksWith(`"method": "2022-blake3-aes-256-gcm", "password": "MjQ5MjBkZWNmODNmNjk2MGI4MGY3MzdhMjhlZWFmYzE=", "managed": false`),
		"multi":     shadowsocksWith(`"method": "2022-blake3-aes-128-gcm", "password": "MjQ5MjBkZWNmODNmNjk2MA==", "users": [{"name": "sekai", "password": "PCD2Z4o12bKUoFa3cC97Hw=="}], "destinations": []`),
		"chacha":    shadowsocksWith(`"method": "2022-blake3-chacha20-poly1305", "password": "MjQ5MjBkZWNmODNmNjk2MGI4MGY3MzdhMjhlZWFmYzE=", "network": ["udp"]`),
		"alias":     shadowsocksWith(`"method": "AEAD_AES_128_GCM", "password": "p"`),
		"for panel": shadowsocksWith(`"method": "xchacha20-ietf-poly1305"`),
	} {
		if _, err := Parse([]byte(in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestShadowsocksMistakes(t *testing.T) {
	const psk = `"password": "MjQ5MjBkZWNmODNmNjk2MA=="`
	for want, in := range map[string]string{
		"is required":                                       `"password": "p"`,
		"is \"none\", which encrypts":                       `"method": "none"`,
		"is for type shadowsocksr":                          `"method": "aes-256-cfb", "password": "p"`,
		`did you mean "aes-128-gcm"`:                        `"method": "aes-129-gcm", "password": "p"`,
		"is \"tea\", which is unknown":                      `"method": "tea", "password": "p"`,
		"is required, base64 of 16":                         `"method": "2022-blake3-aes-128-gcm"`,
		"must be base64 of 16":                              `"method": "2022-blake3-aes-128-gcm", "password": "secret"`,
		"is base64 of 16 bytes, must be base64 of 32 bytes": `"method": "2022-blake3-aes-256-gcm", ` + psk,
		"must be base64":                                    `"method": "2022-blake3-aes-128-gcm", ` + psk + `, "users": [{"password": "secret"}]`,
		"is also":                                           `"method": "2022-blake3-aes-128-gcm", ` + psk + `, "users": [{` + psk + `}, {` + psk + `}]`,
		"cannot name themselves":                            `"method": "2022-blake3-chacha20-poly1305", "password": "MjQ5MjBkZWNmODNmNjk2MGI4MGY3MzdhMjhlZWFmYzE=", "users": [{"password": "MjQ5MjBkZWNmODNmNjk2MGI4MGY3MzdhMjhlZWFmYzE="}]`,
		"users[1].password":                                 `"method": "aes-128-gcm", "users": [{"password": "p"}, {"password": "p"}]`,
		"managed":                                           `"method": "aes-128-gcm", "password": "p", "managed": true`,
		"destinations":                                      `"method": "aes-128-gcm", "password": "p", "destinations": [{"name": "x"}]`,
		"stands beside tls or transport":                    `"method": "aes-128-gcm", "password": "p", "obfs": {"type": "http"}, "transport": {"type": "ws"}`,
		"is for TCP":                                        `"method": "aes-128-gcm", "password": "p", "obfs": {"type": "http"}, "network": "udp"`,
		"is required beside":                                `"method": "aes-128-gcm", "password": "p", "limits": {"invalid_access": {"ban": "5m"}}`,
	} {
		_, err := Parse([]byte(shadowsocksWith(in)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("a mistake shows a password: %v", err)
		}
	}
}

func TestInvalidAccess(t *testing.T) {
	o, err := Parse([]byte(`{"limits": {"invalid_access": {"count": 30, "ban": "20m"}}, "inbounds": [
		{"type": "shadowsocks", "listen_port": 1, "method": "aes-128-gcm", "password": "p"},
		{"type": "shadowsocks", "listen_port": 2, "method": "aes-128-gcm", "password": "p", "limits": {"invalid_access": {"count": -1}, "user_ips": 2}},
		{"type": "shadowsocks", "listen_port": 3, "method": "AEAD_AES_128_GCM", "password": "p", "limits": {"invalid_access": {"count": 5}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []InvalidAccess{
		{30, Duration(time.Minute), Duration(20 * time.Minute)},
		{Count: -1},
		{5, Duration(time.Minute), Duration(10 * time.Minute)},
	} {
		s, _ := o.Inbounds[i].Options.(*Shadowsocks)
		if s.Limits.InvalidAccess != want || s.Method != "aes-128-gcm" {
			t.Errorf("inbound %d: %+v of %s, want %+v", i, s.Limits.InvalidAccess, s.Method, want)
		}
	}
}

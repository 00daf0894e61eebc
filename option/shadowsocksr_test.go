package option

import (
	"strings"
	"testing"
)

// TestShadowsocksR says what is wrong with ports and users, and never shows a password.
func TestShadowsocksR(t *testing.T) {
	for want, in := range map[string]string{
		"":                                                    `"listen_port": 1, "password": "p"`,
		`did you mean "chacha20"?`:                            `"listen_port": 1, "password": "p", "method": "chacha2"`,
		`protocol: is "auth_chain_z"`:                         `"listen_port": 1, "password": "p", "protocol": "auth_chain_z"`,
		`obfs: is "tls"`:                                      `"listen_port": 1, "password": "p", "obfs": "tls"`,
		"password: is required":                               `"listen_port": 1`,
		"listen_port: is required":                            `"password": "p"`,
		"is origin, which names no user":                      `"listen_port": 1, "password": "p", "mode": "protocol"`,
		"is plain, which names no host":                       `"listen_port": 1, "password": "p", "mode": "obfs"`,
		"in mode multi_port users have ports":                 `"listen_port": 1, "mode": "multi_port"`,
		"users[0].listen_port: is required in mode":           `"mode": "multi_port", "users": [ { "id": 1, "password": "p" } ]`,
		"ports[0].listen_port: is 1, which":                   `"listen_port": 1, "password": "p", "ports": [ { "listen_port": 1, "password": "p" } ]`,
		"has 2 users without a listen_port":                   `"listen_port": 1, "password": "p", "users": [ { "name": "a" }, { "name": "b" } ]`,
		"users[0].id: is required: clients say it":            `"listen_port": 1, "password": "p", "mode": "protocol", "protocol": "auth_chain_a", "users": [ { "password": "x" } ]`,
		"must be at most 4294967295":                          `"listen_port": 1, "password": "p", "mode": "protocol", "protocol": "auth_chain_a", "users": [ { "id": 4294967296, "password": "x" } ]`,
		"tls: is not served with ShadowsocksR":                `"listen_port": 1, "password": "p", "tls": { "enabled": true, "certificate_path": "c", "key_path": "k" }`,
		"users[0].listen_port: is 1, which inbounds[0] has a": `"listen_port": 1, "password": "p", "users": [ { "listen_port": 1, "password": "hidden" } ]`,
	} {
		key, text, located := strings.Cut(want, ": ")
		_, err := Parse([]byte(`{ "inbounds": [ { "type": "shadowsocksr", ` + in + ` } ] }`))
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), key) || located && !strings.Contains(err.Error(), text)):
			t.Errorf("%s\ngot %v\nwant %q", in, err, want)
		case err != nil && strings.Contains(err.Error(), "hidden"):
			t.Errorf("%s: shows a password: %v", in, err)
		}
	}
}

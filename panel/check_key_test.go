package panel

import (
	"strings"
	"testing"
)

// Keys as panels make them of a node's created_at: reference/panels.md §8.
const (
	key16 = "MjQ5MjBkZWNmODNmNjk2MA=="
	key32 = "MjQ5MjBkZWNmODNmNjk2MGI4MGY3MzdhMjhlZWFmYzE="
)

// What cannot work with Shadowsocks 2022 is said in the words of panels.
func TestCheckKey(t *testing.T) {
	for _, tt := range []struct{ cipher, key, want string }{
		{"aes-128-gcm", "", ""},
		{"2022-blake3-aes-128-gcm", key16, ""},
		{"2022-blake3-aes-256-gcm", key32, ""},
		{"2022-blake3-aes-128-gcm", "", "node 7 has no server_key"},
		{"2022-blake3-aes-128-gcm", key32, "must be base64 of 16 bytes"},
		{"2022-blake3-aes-256-gcm", key16, "must be base64 of 32 bytes"},
		{"2022-blake3-aes-256-gcm", "a secret", "must be base64 of 32 bytes"},
		{"2022-blake3-chacha20-poly1305", "", "choose 2022-blake3-aes-256-gcm"}, // XBoard sends null
		{"2022-blake3-chacha20-poly1305", key32, ""},                            // one user may have it
	} {
		n := Node{Protocol: "shadowsocks", Port: 8388, Cipher: tt.cipher, ServerKey: tt.key}
		err := n.Check(7)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s with key %q: %v, want %q", tt.cipher, tt.key, err, tt.want)
		}
		if err != nil && tt.key != "" && strings.Contains(err.Error(), tt.key) {
			t.Errorf("the key is shown: %v", err)
		}
	}
}

package uniproxy

import (
	"testing"

	"heki/adapter"
	"heki/panel"
)

func TestKeys(t *testing.T) {
	const uuid = "b831381d-6324-4d53-ad4f-8cda48b30811"
	for _, tt := range []struct {
		protocol, cipher, want string
	}{ // reference/panels.md §8
		{"shadowsocks", "2022-blake3-aes-128-gcm", "YjgzMTM4MWQtNjMyNC00ZA=="},
		{"shadowsocks", "2022-blake3-aes-256-gcm", "YjgzMTM4MWQtNjMyNC00ZDUzLWFkNGYtOGNkYTQ4YjM="},
		{"shadowsocks", "aes-128-gcm", ""},
		{"vless", "2022-blake3-aes-128-gcm", ""},
	} {
		size := KeySize(&panel.Node{Protocol: tt.protocol, Cipher: tt.cipher})
		if tt.want == "" {
			if size != 0 {
				t.Errorf("%s %s has keys of %d bytes", tt.protocol, tt.cipher, size)
			}
			continue
		}
		got, short := WithKeys([]adapter.Account{{ID: 1, Password: "short"}, {ID: 2, Password: uuid}}, size)
		if len(got) != 1 || short != 1 || got[0].ID != 2 || got[0].Password != tt.want {
			t.Errorf("%s: %+v, %d too short", tt.cipher, got, short)
		}
	}
}

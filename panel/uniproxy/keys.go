package uniproxy

import (
	"encoding/base64"

	"heki/adapter"
	"heki/constant"
	"heki/option"
	"heki/panel"
)

// KeySize is how many bytes a user's key has on n: 0 where users have passwords.
func KeySize(n *panel.Node) int {
	if n.Protocol != constant.TypeShadowsocks {
		return 0
	}
	return option.ShadowsocksKeySize(n.Cipher)
}

// WithKeys makes the passwords of accounts the keys that clients of Shadowsocks 2022 are told: base64 of
// the first characters of the uuid's text, dashes included. Those that are too short are left out, and
// how many they are.
//
// Source: reference/panels.md §8.
func WithKeys(accounts []adapter.Account, size int) (kept []adapter.Account, short int) {
	kept = accounts[:0]
	for _, a := range accounts {
		if len(a.Password) < size {
			short++
			continue
		}
		a.Password = base64.StdEncoding.EncodeToString([]byte(a.Password[:size]))
		kept = append(kept, a)
	}
	return kept, short
}

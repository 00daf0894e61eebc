package demo

import (
	"encoding/base64"
	"net/url"

	"heki/option"
	"heki/panel/paneltest"
)

const (
	ssMethod = "2022-blake3-aes-128-gcm"
	// ssServerKey is what a panel made at the time 1700000000 would say.
	ssServerKey = "MjQ5MjBkZWNmODNmNjk2MA=="
)

// ssPassword is what a client of u is told: the server's key and the user's, which is the first
// characters of the uuid.
func ssPassword(u paneltest.User) string {
	key := u.UUID[:option.ShadowsocksKeySize(ssMethod)]
	return ssServerKey + ":" + base64.StdEncoding.EncodeToString([]byte(key))
}

// ssLink is the URI of SIP002 in its form for 2022.
func ssLink(n paneltest.Node, u paneltest.User, title string) string {
	return (&url.URL{Scheme: "ss", User: url.UserPassword(n.Cipher, ssPassword(u)), Host: address(n), Fragment: title}).String()
}

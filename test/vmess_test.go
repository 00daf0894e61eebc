package test

import (
	"testing"

	"heki/test/harness"
)

// vmessLanes are the securities and the ways of UDP. What TCP has to prove about a security is proven
// with less data than on the first lane.
func vmessLanes(client string, road harness.Road, at func(name string, user int) harness.Lane) []lane {
	udp := harness.Full // Xray: XUDP
	names := []string{"auto", "aes-128-gcm", "chacha20-poly1305", "none"}
	if client == harness.SingBox {
		udp, names = harness.Symmetric, append(names, "zero")
	}
	if road.Transport != "" && road.Transport != "ws" {
		names = names[:1]
	}
	var list []lane
	for i, security := range names {
		l := lane{Lane: at(security, i%3), tcp: true, size: small, udp: udp}
		l.Security = security
		list = append(list, l)
	}
	list[0].size = full
	if client != harness.SingBox {
		mux := at("mux", 1)
		mux.Mux = true
		return append(list, lane{Lane: mux, tcp: true, size: small, udp: harness.Full})
	}
	padded, xudp, packetaddr := at("padded", 1), at("xudp", 2), at("packetaddr", 0)
	padded.Padding, padded.Security = true, "aes-128-gcm"
	xudp.Encoding, packetaddr.Encoding = "xudp", "packetaddr"
	return append(list,
		lane{Lane: padded, tcp: true, size: small, udp: udp},
		lane{Lane: xudp, udp: harness.Full}, lane{Lane: packetaddr, udp: harness.FullIP})
}

// TestLegacyVMess logs in with MD5 and alterId 4, as V2Ray up to 4.34 does, and sing-box still can.
func TestLegacyVMess(t *testing.T) {
	t.Parallel()
	users := harness.Users()
	for i := range users {
		users[i].AlterID = 4
	}
	for name, road := range map[string]harness.Road{
		"tcp":    {Protocol: "vmess"},
		"ws":     {Protocol: "vmess", Transport: "ws"},
		"header": {Protocol: "vmess", Transport: "tcp_http_header"},
		"http":   {Protocol: "vmess", Transport: "http", TLS: true},
	} {
		for _, client := range []string{harness.V2Ray, harness.SingBox} {
			if client == harness.SingBox && road.Transport == "tcp_http_header" {
				continue // it has no such transport
			}
			t.Run(client+"/"+name, func(t *testing.T) {
				t.Parallel()
				testLanes(t, client, road, users, legacyLanes(client, users))
			})
		}
	}
}

func legacyLanes(client string, users []harness.User) []lane {
	var list []lane
	for i, security := range []string{"aes-128-gcm", "chacha20-poly1305", "aes-128-cfb", "none"} {
		if security == "aes-128-cfb" && client == harness.V2Ray {
			security = "legacy" // what V2Ray calls it
		}
		l := lane{Lane: harness.Lane{Name: security, User: users[i%3], Security: security}, tcp: true, size: small, udp: harness.Symmetric}
		list = append(list, l)
	}
	if client == harness.V2Ray {
		mux := harness.Lane{Name: "mux", User: users[1], Security: "aes-128-gcm", Mux: true}
		list = append(list, lane{Lane: mux, tcp: true, size: small, udp: harness.Symmetric})
	}
	return list
}

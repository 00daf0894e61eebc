package test

import (
	"testing"

	"heki/test/harness"
)

// mihomoRoads are the roads of mihomo 1.19.20. Its Trojan and its h2 are always TLS, and its Trojan has
// neither h2 nor the TCP header.
func mihomoRoads(protocol string) map[string]harness.Road {
	roads := map[string]harness.Road{
		"tcp-tls":     {TLS: true},
		"ws-tls":      {Transport: "ws", TLS: true},
		"upgrade-tls": {Transport: "httpupgrade", TLS: true},
		"grpc-tls":    {Transport: "grpc", TLS: true},
		"mux-tls":     {Multiplex: true, TLS: true},
	}
	if protocol != "trojan" {
		roads["tcp"] = harness.Road{}
		roads["ws"] = harness.Road{Transport: "ws"}
		roads["upgrade"] = harness.Road{Transport: "httpupgrade"}
		roads["http-tls"] = harness.Road{Transport: "http", TLS: true}
		roads["grpc"] = harness.Road{Transport: "grpc"}
		roads["header"] = harness.Road{Transport: "tcp_http_header"}
	}
	return roads
}

// mihomoLanes lists mihomo's lanes on a road.
func mihomoLanes(road harness.Road) []lane {
	users := harness.Users()
	at := func(name string, user int) lane {
		return lane{Lane: harness.Lane{Name: name, User: users[user]}, tcp: true, size: small, udp: harness.Full}
	}
	plain := at("plain", 0)
	plain.size = full
	if road.Multiplex {
		yamux := at("yamux", 1)
		plain.SingMux, yamux.SingMux, yamux.Padded = "smux", "yamux", true
		return []lane{plain, yamux}
	}
	packetaddr := at("packetaddr", 2)
	packetaddr.Encoding, packetaddr.tcp, packetaddr.udp = "packetaddr", false, harness.FullIP
	list := []lane{plain}
	switch road.Protocol {
	case "vless": // XUDP unless told otherwise
		list = append(list, packetaddr)
	case "vmess":
		list[0].udp = harness.Symmetric
		xudp, padded := at("xudp", 1), at("padded", 2)
		xudp.Encoding, xudp.Security = "xudp", "chacha20-poly1305"
		padded.Padding, padded.Security, padded.udp = true, "aes-128-gcm", harness.Symmetric
		list = append(list, packetaddr, xudp, padded)
	}
	if road.TLS {
		utls := at("utls", 1)
		utls.UTLS, utls.udp = "chrome", list[0].udp
		list = append(list, utls)
	}
	// Its h2 opens the stream on the first Read or Write, whichever it is, and again on the other one when
	// both come at once. VLESS reads before it writes for UDP, so that the answers go to a stream of their
	// own. It fails with a sing-box server too.
	if road.Protocol == "vless" && road.Transport == "http" {
		for i := range list {
			list[i].udp = harness.NoUDP
		}
	}
	return list
}

// TestMihomo drives mihomo through every cell that it has.
func TestMihomo(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"vless", "trojan", "vmess"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			for name, road := range mihomoRoads(protocol) {
				road.Protocol = protocol
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					testLanes(t, harness.Mihomo, road, harness.Users(), mihomoLanes(road))
				})
			}
		})
	}
}

package test

import (
	"testing"

	"heki/test/harness"
)

// mihomoRoads are the roads of mihomo 1.19.20. Its Trojan and its h2 are always TLS, and its gRPC dials
// nothing without it ("http2: unencrypted HTTP/2 not enabled").
func mihomoRoads(protocol string) map[string]harness.Road {
	roads := map[string]harness.Road{
		"tcp-tls":     {TLS: true},
		"ws-tls":      {Transport: "ws", TLS: true},
		"upgrade-tls": {Transport: "httpupgrade", TLS: true},
		"grpc-tls":    {Transport: "grpc", TLS: true},
		"mux-tls":     {Multiplex: true, TLS: true},
	}
	if protocol == "trojan" {
		return roads
	}
	roads["tcp"] = harness.Road{}
	roads["ws"] = harness.Road{Transport: "ws"}
	roads["upgrade"] = harness.Road{Transport: "httpupgrade"}
	roads["http-tls"] = harness.Road{Transport: "http", TLS: true}
	roads["grpc"] = harness.Road{Transport: "grpc"}
	roads["header"] = harness.Road{Transport: "tcp_http_header"}
	return roads
}

func mihomoLanes(road harness.Road) []lane {
	users := harness.Users()
	at := func(name string, user int) lane {
		return lane{Lane: harness.Lane{Name: name, User: users[user]}, tcp: true, size: small, udp: harness.Full}
	}
	first := at("plain", 0)
	first.size = full
	if road.Multiplex {
		first.SingMux = "smux"
		return []lane{first}
	}
	list := []lane{first}
	return list
}

// TestMihomo drives mihomo through every cell that it has.
func TestMihomo(t *testing.T) {
	for _, protocol := range []string{"vless", "trojan", "vmess"} {
		t.Run(protocol, func(t *testing.T) {
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

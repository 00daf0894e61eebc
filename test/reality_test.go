package test

import (
	"testing"

	"heki/test/harness"
)

// realityRoads are the transports that a client has with REALITY.
func realityRoads(client string) map[string]harness.Road {
	roads := map[string]harness.Road{
		"tcp":  {},
		"grpc": {Transport: "grpc"},
	}
	switch client {
	case harness.SingBox: // Xray refuses REALITY with WebSocket and has no HTTP/2
		roads["ws"] = harness.Road{Transport: "ws"}
		roads["http"] = harness.Road{Transport: "http"}
		roads["upgrade"] = harness.Road{Transport: "httpupgrade"}
	}
	return roads
}

// TestReality drives VLESS over REALITY: client × transport, and each lane of the client.
func TestReality(t *testing.T) {
	for _, client := range []string{harness.SingBox, harness.Xray, harness.Mihomo} {
		t.Run(client, func(t *testing.T) {
			for name, road := range realityRoads(client) {
				road.Protocol = "vless"
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					road.Reality = harness.StartReality(t)
					testLanes(t, client, road, harness.Users(), realityLanes(client, road))
				})
			}
		})
	}
}

func realityLanes(client string, road harness.Road) []lane {
	if client == harness.Mihomo {
		return mihomoLanes(road)
	}
	return lanes(client, road)
}

package test

import (
	"fmt"
	"strings"
	"testing"

	"heki/test/harness"
)

// hopping makes a client hop among ports; sing-box and mihomo do it every five seconds at most.
func hopping(client string, first, last uint16) harness.JSON {
	if client == harness.Mihomo {
		return harness.JSON{"ports": fmt.Sprintf("%d-%d", first, last), "hop-interval": 5}
	}
	return harness.JSON{"server_ports": []string{fmt.Sprintf("%d:%d", first, last)}, "hop_interval": "5s"}
}

// portsInARow returns the first of n free ports.
func portsInARow(t testing.TB, n int) uint16 {
	t.Helper()
	first := harness.FreePort(t)
	for last := first; int(last-first) < n-1; {
		if port := harness.FreePort(t); port == last+1 {
			last = port
		} else {
			first, last = port, port
		}
	}
	return first
}

// TestHysteria2Hopping moves bytes, slowly, while clients hop several times: by nftables where the
// machine lets heki, and by sockets. The port of the inbound is not among theirs.
func TestHysteria2Hopping(t *testing.T) {
	for _, way := range []string{"any", "sockets"} {
		for _, client := range []string{harness.SingBox, harness.Mihomo} {
			t.Run(way+"/"+client, func(t *testing.T) {
				harness.Twice(t, func(t testing.TB) { testHopping(t, client, way == "sockets") })
			})
		}
	}
}

func testHopping(t testing.TB, client string, sockets bool) {
	if _, err := harness.HekiBinary(); err != nil {
		t.Fatal(err)
	}
	if _, err := harness.Binary(client); err != nil {
		t.Fatal(err)
	}
	if sockets {
		t.Setenv("PATH", "/nonexistent") // no nft
	}
	const ports = 20
	first := portsInARow(t, ports)
	server := harness.JSON{
		"listen_ports": fmt.Sprintf("%d-%d", first, first+ports-1),
		"users":        []harness.JSON{{"name": "alice", "password": harness.Users()[0].Password, "speed_limit_mbps": 16}},
	}
	p, socks, targets := startHysteria2(t, client, server, hopping(client, first, first+ports-1))
	for line := range strings.Lines(p.Log()) {
		if strings.Contains(line, "port hopping") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if sockets && !strings.Contains(p.Log(), "port hopping by more sockets") {
		t.Error("not by sockets")
	}
	harness.CheckTCP(t, socks, targets, 8<<20) // 4 s each way at this speed
	harness.CheckUDP(t, socks, targets, harness.Full)
}

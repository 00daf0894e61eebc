package test

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"heki/test/harness"
)

// balancedCell is a client, and a HAProxy between it and heki.
type balancedCell struct {
	client string
	road   harness.Road // as the client sees it: with HAProxy's TLS
	proxy  harness.LoadBalancer
	inTLS  bool // heki's own TLS, which HAProxy passes on unopened
	edit   func(node harness.JSON)
}

// testBalanced drives a client through HAProxy, wants no byte to be lost, and the panel to be told source
// as the user's address.
func testBalanced(t testing.TB, cell balancedCell, source string) {
	road := cell.road
	road.TLS = cell.inTLS
	s := newSite(t, road, 1, func(config harness.JSON) {
		node := config["panels"].([]harness.JSON)[0]["nodes"].([]harness.JSON)[0]
		cell.edit(node)
	})
	s.start(t)
	if cell.road.TLS && !cell.inTLS {
		cell.proxy.TLS = s.cert
	}
	p, front := harness.StartHAProxy(t, cell.proxy, s.port)
	user := account(s.panel.Users()[0])
	c := harness.StartClient(t, cell.client, cell.road, front, s.cert, harness.Lane{Name: "user", User: user, Encoding: "xudp"})
	socks := c.Socks("user")
	way := wayOf(cell.client, cell.road, lane{}, socks)
	harness.CheckTCP(t, way, s.targets, small)
	harness.Part(t, "parallel", func(t testing.TB) { harness.CheckParallel(t, way, s.targets, 40) })
	harness.Part(t, "udp", func(t testing.TB) { harness.CheckUDP(t, socks, s.targets, harness.Full) })
	eventually(t, "the user's address is "+source, func() bool {
		return slices.Equal(s.panel.Alive(nodeID, s.panel.Users()[0].ID), []string{source})
	})
	if strings.Contains(p.Log(), "is DOWN") {
		t.Error("HAProxy took heki for down")
	}
}

// trust makes heki believe the load balancer.
func trust(node harness.JSON) { node["trusted_proxies"] = []string{harness.ProxyAddress + "/32"} }

// trustHeader wants a PROXY header of the load balancer.
func trustHeader(node harness.JSON) {
	trust(node)
	node["proxy_protocol"] = "required"
}

// TestHAProxyHTTP lets HAProxy end the clients' TLS and hand their requests on without it: HTTP/2 with
// prior knowledge for http and grpc, HTTP/1.1 for ws. See TestHAProxyUpgrade for httpupgrade.
func TestHAProxyHTTP(t *testing.T) {
	t.Parallel()
	h1, h2 := harness.LoadBalancer{Mode: "http"}, harness.LoadBalancer{Mode: "http", H2: true}
	for name, cell := range map[string]balancedCell{
		"sing-box/vless/http":  {client: harness.SingBox, road: harness.Road{Protocol: "vless", Transport: "http"}, proxy: h2},
		"sing-box/trojan/grpc": {client: harness.SingBox, road: harness.Road{Protocol: "trojan", Transport: "grpc"}, proxy: h2},
		"sing-box/vmess/ws":    {client: harness.SingBox, road: harness.Road{Protocol: "vmess", Transport: "ws"}, proxy: h1},
		"xray/vless/grpc":      {client: harness.Xray, road: harness.Road{Protocol: "vless", Transport: "grpc"}, proxy: h2},
		"xray/trojan/ws":       {client: harness.Xray, road: harness.Road{Protocol: "trojan", Transport: "ws"}, proxy: h1},
		"mihomo/vmess/http":    {client: harness.Mihomo, road: harness.Road{Protocol: "vmess", Transport: "http"}, proxy: h2},
		"mihomo/trojan/grpc":   {client: harness.Mihomo, road: harness.Road{Protocol: "trojan", Transport: "grpc"}, proxy: h2},
		"mihomo/vless/ws":      {client: harness.Mihomo, road: harness.Road{Protocol: "vless", Transport: "ws"}, proxy: h1},
	} {
		cell.road.TLS = true
		cell.edit = trust
		harness.Cell(t, name, func(t testing.TB) { testBalanced(t, cell, harness.Loopback) })
	}
	harness.Cell(t, "untrusted", func(t testing.TB) {
		cell := balancedCell{client: harness.SingBox, road: harness.Road{Protocol: "vless", Transport: "http", TLS: true}, proxy: h2}
		cell.edit = func(node harness.JSON) { node["trusted_proxies"] = []string{"192.0.2.0/24"} }
		testBalanced(t, cell, harness.ProxyAddress)
	})
}

// TestHAProxyUpgrade lets HAProxy end the clients' TLS of httpupgrade. That works in mode tcp only, with a
// PROXY header instead of X-Forwarded-For: in mode http, HAProxy answers "Upgrade: websocket" without
// Sec-WebSocket-Key with 400 by itself, and no client sends one.
func TestHAProxyUpgrade(t *testing.T) {
	t.Parallel()
	road := harness.Road{Protocol: "vless", Transport: "httpupgrade", TLS: true}
	for _, client := range []string{harness.SingBox, harness.Xray, harness.Mihomo} {
		harness.Cell(t, client, func(t testing.TB) {
			testBalanced(t, balancedCell{
				client: client, road: road,
				proxy: harness.LoadBalancer{Mode: "tcp", Options: "send-proxy-v2"}, edit: trustHeader,
			}, harness.Loopback)
		})
	}
	harness.Cell(t, "mode http", func(t testing.TB) {
		_, front := harness.StartHAProxy(t, harness.LoadBalancer{Mode: "http"}, harness.FreePort(t))
		conn, err := net.Dial("tcp", harness.Address(front))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", harness.Path, harness.ServerName)
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "HTTP/1.1 400 ") {
			t.Errorf("HAProxy says %q, %v; want its 400: does httpupgrade work now?", line, err)
		}
	})
}

// TestHAProxyTCP lets HAProxy pass connections on unopened and name their clients in a PROXY header, and
// check by a connection of its own, which names nobody, that heki is there.
func TestHAProxyTCP(t *testing.T) {
	t.Parallel()
	for version, option := range map[string]string{"v1": "send-proxy", "v2": "send-proxy-v2"} {
		for name, road := range map[string]harness.Road{
			"vless/tcp-tls":   {Protocol: "vless", TLS: true},
			"vmess/tcp":       {Protocol: "vmess"},
			"trojan/grpc-tls": {Protocol: "trojan", Transport: "grpc", TLS: true},
		} {
			harness.Cell(t, version+"/"+name, func(t testing.TB) {
				testBalanced(t, balancedCell{
					client: harness.SingBox, road: road, inTLS: road.TLS,
					proxy: harness.LoadBalancer{Mode: "tcp", Options: option + " check check-send-proxy inter 500ms"},
					edit:  trustHeader,
				}, harness.Loopback)
			})
		}
	}
}

package test

import (
	"cmp"
	"maps"
	"strings"
	"testing"

	"heki/test/harness"
)

// lane is a lane of a client and what its real program can do.
type lane struct {
	harness.Lane
	tcp  bool  // drive TCP too; off where a lane differs from another in UDP only
	size int64 // bytes each way of a TCP check; 0 is full
	udp  harness.Cone
}

// Sizes of the TCP checks. A cell whose carrying is proven by another one moves the smaller.
const (
	full  = 8 << 20
	small = 1 << 20
)

// transports are the roads of the matrix; sing-box puts early data into the path too.
func transports(client, protocol string) map[string]harness.Road {
	const ed, header = 2048, "Sec-WebSocket-Protocol"
	roads := map[string]harness.Road{
		"tcp":         {},
		"tcp-tls":     {TLS: true},
		"ws":          {Transport: "ws"},
		"ws-tls":      {Transport: "ws", TLS: true},
		"upgrade":     {Transport: "httpupgrade"},
		"upgrade-tls": {Transport: "httpupgrade", TLS: true},
		"grpc":        {Transport: "grpc"},
		"grpc-tls":    {Transport: "grpc", TLS: true},
	}
	if protocol != "vmess" {
		maps.Copy(roads, map[string]harness.Road{
			"ws-early":  {Transport: "ws", EarlyData: ed, EarlyHeader: header},
			"wss-early": {Transport: "ws", TLS: true, EarlyData: ed, EarlyHeader: header},
		})
	}
	if client == harness.SingBox { // Xray has none: its h2 is part of XHTTP
		roads["http"] = harness.Road{Transport: "http"}
		roads["http-tls"] = harness.Road{Transport: "http", TLS: true}
		roads["mux"] = harness.Road{Multiplex: true}
		roads["mux-tls"] = harness.Road{Multiplex: true, TLS: true}
	}
	switch {
	case client == harness.SingBox && protocol != "vmess":
		roads["ws-early-p"] = harness.Road{Transport: "ws", EarlyData: ed}
	case client == harness.Xray:
		roads["header"] = harness.Road{Transport: "tcp_http_header"}
		roads["grpc-multi"] = harness.Road{Transport: "grpc", Multi: true}
	}
	return roads
}

// lanes lists the lanes of a client on a road. Users take turns, so that each port serves several.
func lanes(client string, road harness.Road) []lane {
	users := harness.Users()
	at := func(name string, user int) harness.Lane { return harness.Lane{Name: name, User: users[user]} }
	var list []lane
	switch {
	case road.Multiplex:
		return singMuxLanes(at)
	case road.Protocol == "vmess":
		list = vmessLanes(client, road, at)
	case client == harness.SingBox && road.Protocol == "vless":
		xudp, packetaddr := at("xudp", 1), at("packetaddr", 2)
		xudp.Encoding, packetaddr.Encoding = "xudp", "packetaddr"
		list = []lane{{Lane: at("plain", 0), tcp: true, udp: harness.Symmetric}, {Lane: xudp, udp: harness.Full}, {Lane: packetaddr, udp: harness.FullIP}}
	case client == harness.SingBox:
		list = []lane{{Lane: at("plain", 2), tcp: true, udp: harness.Full}}
	default:
		mux := at("mux", 1)
		mux.Mux = true
		list = []lane{{Lane: at("plain", 0), tcp: true, udp: harness.Full}, {Lane: mux, tcp: true, udp: harness.Full}}
	}
	if client == harness.SingBox && road.TLS {
		utls := at("utls", 1)
		utls.UTLS = "chrome"
		list = append(list, lane{Lane: utls, tcp: true, udp: list[0].udp})
	}
	if road.Transport != "" && road.Transport != "ws" {
		for i := range list {
			list[i].size = small
		}
	}
	return list
}

// singMuxLanes are sing-mux's three ways to share connections, the last also with padding.
func singMuxLanes(at func(name string, user int) harness.Lane) []lane {
	var list []lane
	for i, name := range []string{"h2mux", "smux", "yamux"} {
		l := at(name, i)
		l.SingMux = name
		list = append(list, lane{Lane: l, tcp: true, size: small, udp: harness.Full})
	}
	padded := at("padded", 0)
	padded.SingMux, padded.Padded = "h2mux", true
	return append(list, lane{Lane: padded, tcp: true, size: small, udp: harness.Full})
}

// TestMatrix drives every cell: client × protocol × transport, and each lane of the client in it.
// Run one cell with -run 'TestMatrix/xray/trojan/ws-tls/mux'.
func TestMatrix(t *testing.T) {
	t.Parallel()
	for _, client := range []string{harness.SingBox, harness.Xray} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			for _, protocol := range []string{"vless", "trojan", "vmess"} {
				t.Run(protocol, func(t *testing.T) {
					t.Parallel()
					for name, road := range transports(client, protocol) {
						road.Protocol = protocol
						t.Run(name, func(t *testing.T) {
							t.Parallel()
							testCell(t, client, road)
						})
					}
				})
			}
		})
	}
}

func testCell(t *testing.T, client string, road harness.Road) {
	testLanes(t, client, road, harness.Users(), lanes(client, road))
}

// testLanes drives one server with all lanes of one client.
func testLanes(t *testing.T, client string, road harness.Road, users []harness.User, ls []lane) {
	harness.Twice(t, func(t testing.TB) { runLanes(t, client, road, users, ls) })
}

func runLanes(t testing.TB, client string, road harness.Road, users []harness.User, ls []lane) {
	targets := harness.StartTargets(t)
	cert := harness.NewCertificate(t)
	port := harness.FreePort(t)
	harness.StartServer(t, road.Inbound(port, cert, users))
	wrong := harness.Lane{Name: "wrong", User: harness.Stranger()}
	wrong.User.AlterID = users[0].AlterID
	all := []harness.Lane{wrong}
	for _, l := range ls {
		all = append(all, l.Lane)
	}
	c := harness.StartClient(t, client, road, port, cert, all...)
	refused := make(chan struct{})
	go func() { // beside the lanes: it is silence that it waits for
		defer close(refused)
		harness.CheckRefused(t, c.Socks(wrong.Name), targets)
	}()
	for _, l := range ls {
		harness.Part(t, l.Name, func(t testing.TB) {
			socks := c.Socks(l.Name)
			way := wayOf(client, road, l, socks)
			if l.tcp {
				harness.CheckTCP(t, way, targets, cmp.Or(l.size, full))
			}
			if l.tcp && cmp.Or(l.size, full) >= small { // less is not about carrying
				harness.Part(t, "parallel", func(t testing.TB) { harness.CheckParallel(t, way, targets, 40) })
			}
			harness.Part(t, "udp", func(t testing.TB) { harness.CheckUDP(t, socks, targets, l.udp) })
		})
	}
	<-refused
}

// wayOf spares a client what it cannot do on a road.
func wayOf(client string, road harness.Road, l lane, socks harness.Socks) harness.Way {
	switch {
	case client == harness.Xray && strings.HasPrefix(road.Method, "2022-"):
		return harness.Endless{Way: socks}
	case client == harness.Xray && road.Protocol == "trojan":
		return harness.Gentle{Way: socks}
	case client == harness.Xray && road.Protocol == "vmess" && !l.Mux:
		return harness.Eager{Way: socks}
	case client == harness.SingBox && road.EarlyData > 0:
		return harness.Late{Way: socks}
	case client == harness.SingBox && (road.Transport == "grpc" || road.Transport == "http" && (road.TLS || road.Reality != nil)):
		return harness.Hasty{Way: socks}
	case client == harness.Mihomo && road.Transport == "grpc":
		return harness.Hasty{Way: socks}
	}
	return socks
}

package test

import (
	"maps"
	"testing"

	"heki/test/harness"
)

// exit is one of heki's ways out, and the inbound of the server behind it.
type exit struct {
	name     string
	inbound  harness.JSON // but address and port
	outbound harness.JSON // but server and port
	udp      harness.Cone
	half     bool // the server passes the end of one direction on
	mute     bool // nor the end of a connection: see harness.Mute
	endless  bool // sing-box: see harness.Endless
}

// roadExit is an exit of a protocol that users have accounts of, in the words of sing-box and heki.
func roadExit(name string, road harness.Road, cert *harness.Certificate, extra harness.JSON) exit {
	user := harness.Users()[0]
	in := road.Inbound(0, cert, harness.Users())
	out := harness.JSON{"type": road.Protocol}
	if road.Protocol == "trojan" {
		out["password"] = user.Password
	} else {
		out["uuid"] = user.UUID
	}
	if road.TLS {
		tls := harness.JSON{"enabled": true, "server_name": harness.ServerName, "certificate_path": cert.CAPath}
		if fingerprint, ok := extra["fingerprint"]; ok {
			tls["utls"] = harness.JSON{"enabled": true, "fingerprint": fingerprint}
		}
		out["tls"] = tls
	}
	if t, ok := in["transport"]; ok {
		out["transport"] = t
	}
	e := exit{name: name, inbound: in, outbound: out, udp: harness.Full}
	// sing-box 1.14.1 ends a call of gRPC only after its client has (v2raygrpc.GRPCConn.Close of a server does nothing).
	e.endless = road.Transport == "grpc"
	if encoding, ok := extra["packet_encoding"]; ok {
		out["packet_encoding"] = encoding
		e.udp = harness.FullIP
		if encoding == "" {
			e.udp = harness.Symmetric
		}
	}
	return e
}

// proxyAccount is a user of a SOCKS or HTTP proxy.
var proxyAccount = harness.JSON{"username": "alice", "password": "secret of alice"}

// singBoxExits are all outbounds, in front of a real sing-box 1.14.1. httpupgrade is left to Xray and heki:
// sing-box loses what follows its answer too closely (v2rayhttpupgrade.Server.ServeHTTP drops Hijack's reader).
func singBoxExits(cert *harness.Certificate) []exit {
	mixed := harness.JSON{"type": "mixed", "users": []harness.JSON{proxyAccount}}
	open := harness.JSON{"type": "mixed"}
	secure := harness.JSON{
		"type": "http", "users": []harness.JSON{proxyAccount},
		"tls": harness.JSON{"enabled": true, "certificate_path": cert.CertPath, "key_path": cert.KeyPath},
	}
	tls := harness.JSON{"enabled": true, "server_name": harness.ServerName, "certificate_path": cert.CAPath}
	with := func(typ string, more harness.JSON) harness.JSON {
		out := harness.JSON{"type": typ}
		maps.Copy(out, more)
		return out
	}
	list := []exit{
		{name: "socks5", inbound: mixed, outbound: with("socks", proxyAccount), udp: harness.Full},
		{name: "socks5-open", inbound: open, outbound: with("socks", nil), udp: harness.Full},
		{name: "socks4a", inbound: open, outbound: with("socks", harness.JSON{"version": "4a"}), udp: harness.NoUDP},
		{name: "socks4", inbound: open, outbound: with("socks", harness.JSON{"version": "4"}), udp: harness.NoUDP},
		{name: "http", inbound: mixed, outbound: with("http", proxyAccount), udp: harness.NoUDP},
		{name: "https", inbound: secure, outbound: with("http", harness.JSON{"username": proxyAccount["username"], "password": proxyAccount["password"], "tls": tls}), udp: harness.NoUDP},
	}
	for _, protocol := range []string{"trojan", "vless"} {
		for name, road := range map[string]harness.Road{
			"tcp":      {},
			"tls":      {TLS: true},
			"ws":       {Transport: "ws"},
			"ws-early": {Transport: "ws", TLS: true, EarlyData: 2048, EarlyHeader: "Sec-WebSocket-Protocol"},
			"grpc":     {Transport: "grpc", TLS: true},
			"h2":       {Transport: "http", TLS: true},
		} {
			road.Protocol = protocol
			list = append(list, roadExit(protocol+"-"+name, road, cert, nil))
		}
	}
	vless := harness.Road{Protocol: "vless", TLS: true}
	return append(list,
		roadExit("vless-packetaddr", vless, cert, harness.JSON{"packet_encoding": "packetaddr"}),
		roadExit("vless-plain", vless, cert, harness.JSON{"packet_encoding": ""}),
		roadExit("vless-utls", vless, cert, harness.JSON{"fingerprint": "chrome"}),
		roadExit("vless-utls-ws", harness.Road{Protocol: "vless", TLS: true, Transport: "ws"}, cert, harness.JSON{"fingerprint": "firefox"}),
		roadExit("vless-utls-grpc", harness.Road{Protocol: "vless", TLS: true, Transport: "grpc"}, cert, harness.JSON{"fingerprint": "safari"}),
	)
}

// xrayExits are those that Xray serves, in its words.
func xrayExits(cert *harness.Certificate) []exit {
	user := harness.Users()[0]
	trojan := roadExit("trojan-tls", harness.Road{Protocol: "trojan", TLS: true}, cert, nil)
	trojan.inbound = harness.JSON{
		"protocol": "trojan", "settings": harness.JSON{"clients": []harness.JSON{{"password": user.Password}}},
		"streamSettings": harness.JSON{"network": "tcp", "security": "tls", "tlsSettings": harness.JSON{
			"certificates": []harness.JSON{{"certificateFile": cert.CertPath, "keyFile": cert.KeyPath}},
		}},
	}
	vless := roadExit("vless-ws", harness.Road{Protocol: "vless", Transport: "ws"}, cert, nil)
	vless.inbound = harness.JSON{
		"protocol": "vless", "settings": harness.JSON{"clients": []harness.JSON{{"id": user.UUID}}, "decryption": "none"},
		"streamSettings": harness.JSON{"network": "ws", "wsSettings": harness.JSON{"path": harness.Path}},
	}
	upgrade := roadExit("vless-httpupgrade", harness.Road{Protocol: "vless", Transport: "httpupgrade"}, cert, nil)
	upgrade.inbound = harness.JSON{
		"protocol": "vless", "settings": vless.inbound["settings"],
		"streamSettings": harness.JSON{"network": "httpupgrade", "httpupgradeSettings": harness.JSON{"path": harness.Path}},
	}
	socks := exit{name: "socks5", outbound: maps.Clone(proxyAccount), udp: harness.Full}
	socks.outbound["type"] = "socks"
	socks.inbound = harness.JSON{"protocol": "socks", "settings": harness.JSON{
		"auth": "password", "udp": true, "ip": harness.Loopback,
		"accounts": []harness.JSON{{"user": proxyAccount["username"], "pass": proxyAccount["password"]}},
	}}
	return []exit{trojan, vless, upgrade, socks}
}

// hekiExits pass half-closes on.
func hekiExits(cert *harness.Certificate) []exit {
	list := []exit{
		roadExit("trojan-tls", harness.Road{Protocol: "trojan", TLS: true}, cert, nil),
		roadExit("vless-tcp", harness.Road{Protocol: "vless"}, cert, nil),
		roadExit("vless-h2", harness.Road{Protocol: "vless", TLS: true, Transport: "http"}, cert, nil),
		roadExit("vless-grpc", harness.Road{Protocol: "vless", Transport: "grpc"}, cert, nil),
		roadExit("trojan-httpupgrade", harness.Road{Protocol: "trojan", Transport: "httpupgrade"}, cert, nil),
	}
	for i := range list[:2] {
		list[i].half = true
	}
	return list
}

// TestOutbounds sends what a client asks of heki on through each outbound to a real server.
func TestOutbounds(t *testing.T) {
	t.Parallel()
	cert := harness.NewCertificate(t)
	for name, exits := range map[string][]exit{
		harness.SingBox: singBoxExits(cert), harness.Xray: xrayExits(cert), harness.Heki: hekiExits(cert),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			harness.Twice(t, func(t testing.TB) { testExits(t, name, exits) })
		})
	}
}

// testExits starts server, heki before it and a client before that, and checks each exit.
func testExits(t testing.TB, server string, exits []exit) {
	targets := harness.StartTargets(t)
	user := harness.Users()[1]
	entry := harness.Road{Protocol: "vless"}
	var behind, inbounds, outbounds, rules []harness.JSON
	var lanes []harness.Lane
	for _, e := range exits {
		port, in := harness.FreePort(t), harness.FreePort(t)
		e.inbound = maps.Clone(e.inbound)
		e.inbound["listen"], e.inbound["tag"] = harness.Loopback, e.name
		if server == harness.Xray {
			e.inbound["port"] = port
		} else {
			e.inbound["listen_port"] = port
		}
		behind = append(behind, e.inbound)
		inbound := entry.Inbound(in, nil, harness.Users())
		inbound["tag"] = "in-" + e.name
		inbounds = append(inbounds, inbound)
		out := maps.Clone(e.outbound)
		out["tag"], out["server"], out["server_port"] = "out-"+e.name, harness.Loopback, port
		outbounds = append(outbounds, out)
		rules = append(rules, harness.JSON{"match": []string{"inbound:in-" + e.name}, "outbound": "out-" + e.name})
		lanes = append(lanes, harness.Lane{Name: e.name, User: user, Encoding: "xudp", Port: in})
	}
	harness.StartReal(t, server, behind...)
	heki := harness.Run(t, harness.Heki, harness.WriteConfig(t, harness.JSON{
		"log": harness.JSON{"level": "debug"}, "state_dir": t.TempDir(),
		"inbounds": inbounds, "outbounds": outbounds, "route": harness.JSON{"rules": rules},
	}))
	for _, lane := range lanes {
		heki.WaitPort(t, harness.Address(lane.Port))
	}
	client := harness.StartClient(t, harness.SingBox, entry, lanes[0].Port, nil, lanes...)
	for i, e := range exits {
		harness.Part(t, e.name, func(t testing.TB) {
			raw := harness.Raw{Road: entry, User: user, Server: harness.Address(lanes[i].Port)}
			var way harness.Way = raw
			switch {
			case e.mute:
				way = harness.Mute{Way: raw}
			case e.endless && server == harness.SingBox:
				way = harness.Endless{Way: raw}
			}
			harness.CheckTCP(t, way, targets, 1<<20)
			harness.Part(t, "parallel", func(t testing.TB) { harness.CheckParallel(t, raw, targets, 20) })
			if e.half {
				harness.Part(t, "half-close", func(t testing.TB) { harness.CheckHalfClose(t, raw, targets) })
			}
			harness.CheckUDP(t, client.Socks(e.name), targets, e.udp)
		})
	}
}

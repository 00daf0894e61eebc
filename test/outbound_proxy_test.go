package test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"heki/test/harness"
)

// vmessExit is a VMess outbound in front of an inbound of the road.
func vmessExit(name string, road harness.Road, cert *harness.Certificate, more harness.JSON) exit {
	road.Protocol = "vmess"
	e := roadExit(name, road, cert, nil)
	maps.Copy(e.outbound, more)
	switch more["packet_encoding"] {
	case nil:
		e.udp = harness.Symmetric
	case "packetaddr":
		e.udp = harness.FullIP
	}
	return e
}

// ssExit is a Shadowsocks outbound in front of an inbound of one user without a name, or of several.
func ssExit(method string, single bool) exit {
	road := harness.Road{Protocol: "shadowsocks", Method: method, Single: single}
	in := road.Inbound(0, nil, harness.Users())
	var keys []string
	if key, ok := in["password"].(string); ok {
		keys = append(keys, key)
	}
	if users, ok := in["users"].([]harness.JSON); ok {
		keys = append(keys, users[0]["password"].(string))
	}
	name := method + "-users"
	if single {
		name = method
	}
	out := harness.JSON{"type": "shadowsocks", "method": method, "password": strings.Join(keys, ":")}
	return exit{name: name, inbound: in, outbound: out, udp: harness.Full}
}

// sealedExits are VMess and Shadowsocks in front of a real sing-box. httpupgrade is left to Xray and heki here too, however
// UDP travels: sing-box 1.14.1 lost the first byte of 34 in 4000 streams that began right after its answer (VLESS
// without heki: "unknown version: 170", which was the second byte), and none of 2000 that waited 20 ms. See singBoxExits.
func sealedExits(cert *harness.Certificate) []exit {
	list := []exit{
		vmessExit("vmess-tcp", harness.Road{}, cert, nil),
		vmessExit("vmess-ws-tls", harness.Road{Transport: "ws", TLS: true}, cert, harness.JSON{"packet_encoding": "xudp"}),
		vmessExit("vmess-chacha", harness.Road{}, cert, harness.JSON{"security": "chacha20-poly1305", "packet_encoding": "xudp"}),
		vmessExit("vmess-none", harness.Road{}, cert, harness.JSON{"security": "none"}),
		vmessExit("vmess-zero-tls", harness.Road{TLS: true}, cert, harness.JSON{"security": "zero"}),
		vmessExit("vmess-padded", harness.Road{}, cert, harness.JSON{"security": "aes-128-gcm", "global_padding": true, "authenticated_length": true, "packet_encoding": "packetaddr"}),
	}
	for _, method := range []string{"aes-128-gcm", "chacha20-ietf-poly1305", "2022-blake3-aes-128-gcm", "2022-blake3-aes-256-gcm"} {
		list = append(list, ssExit(method, true), ssExit(method, false))
	}
	return append(list, ssExit("aes-256-gcm", true), ssExit("2022-blake3-chacha20-poly1305", true))
}

// xraySealedExits are those in front of a real Xray, whose inbounds are in its words.
func xraySealedExits(cert *harness.Certificate) []exit {
	id := harness.Users()[0].UUID
	var list []exit
	for _, e := range []exit{
		vmessExit("vmess-tcp", harness.Road{}, cert, harness.JSON{"packet_encoding": "xudp"}),
		vmessExit("vmess-none", harness.Road{}, cert, harness.JSON{"security": "none"}),
		vmessExit("vmess-zero", harness.Road{}, cert, harness.JSON{"security": "zero"}),
		vmessExit("vmess-padded", harness.Road{}, cert, harness.JSON{"global_padding": true, "authenticated_length": true}),
	} {
		e.inbound = harness.JSON{"protocol": "vmess", "settings": harness.JSON{"clients": []harness.JSON{{"id": id}}}}
		list = append(list, e)
	}
	upgrade := vmessExit("vmess-upgrade", harness.Road{Transport: "httpupgrade"}, cert, harness.JSON{"packet_encoding": "xudp"})
	upgrade.inbound = harness.JSON{
		"protocol": "vmess", "settings": harness.JSON{"clients": []harness.JSON{{"id": id}}},
		"streamSettings": harness.JSON{"network": "httpupgrade", "httpupgradeSettings": harness.JSON{"path": harness.Path}},
	}
	ws := vmessExit("vmess-ws-tls", harness.Road{Transport: "ws", TLS: true}, cert, harness.JSON{"packet_encoding": "xudp"})
	ws.inbound = harness.JSON{
		"protocol": "vmess", "settings": harness.JSON{"clients": []harness.JSON{{"id": id}}},
		"streamSettings": harness.JSON{
			"network": "ws", "wsSettings": harness.JSON{"path": harness.Path}, "security": "tls",
			"tlsSettings": harness.JSON{"certificates": []harness.JSON{{"certificateFile": cert.CertPath, "keyFile": cert.KeyPath}}},
		},
	}
	list = append(list, ws, upgrade)
	for _, e := range []exit{
		ssExit("aes-128-gcm", true), ssExit("chacha20-ietf-poly1305", true),
		ssExit("2022-blake3-aes-128-gcm", true), ssExit("2022-blake3-aes-128-gcm", false),
	} {
		settings := harness.JSON{"method": e.outbound["method"], "password": e.inbound["password"], "network": "tcp,udp"}
		if users, ok := e.inbound["users"].([]harness.JSON); ok {
			clients := make([]harness.JSON, len(users))
			for i, u := range users {
				clients[i] = harness.JSON{"password": u["password"], "email": u["name"]}
			}
			settings["clients"] = clients
		}
		e.inbound = harness.JSON{"protocol": "shadowsocks", "settings": settings}
		e.mute = strings.HasPrefix(e.outbound["method"].(string), "2022-")
		list = append(list, e)
	}
	return list
}

// hekiSealedExits pass half-closes on.
func hekiSealedExits(cert *harness.Certificate) []exit {
	list := []exit{
		vmessExit("vmess-tcp", harness.Road{}, cert, harness.JSON{"packet_encoding": "xudp"}),
		vmessExit("vmess-zero", harness.Road{}, cert, harness.JSON{"security": "zero"}),
		ssExit("aes-128-gcm", false), ssExit("2022-blake3-aes-128-gcm", false), ssExit("2022-blake3-aes-256-gcm", true),
	}
	for i := range list {
		list[i].half = true
	}
	return append(list, vmessExit("vmess-upgrade", harness.Road{Transport: "httpupgrade"}, cert, harness.JSON{"packet_encoding": "packetaddr"}))
}

// TestSealedOutbounds sends what a client asks of heki on through VMess and Shadowsocks to real servers.
func TestSealedOutbounds(t *testing.T) {
	t.Parallel()
	cert := harness.NewCertificate(t)
	t.Run(harness.SingBox, func(t *testing.T) {
		t.Parallel()
		harness.Twice(t, func(t testing.TB) { testExits(t, harness.SingBox, sealedExits(cert)) })
	})
	t.Run(harness.Xray, func(t *testing.T) {
		t.Parallel()
		harness.Twice(t, func(t testing.TB) { testExits(t, harness.Xray, xraySealedExits(cert)) })
	})
	t.Run(harness.Heki, func(t *testing.T) {
		t.Parallel()
		harness.Twice(t, func(t testing.TB) { testExits(t, harness.Heki, hekiSealedExits(cert)) })
	})
}

// TestGroup has a member of a group die, and come back, while traffic goes on.
func TestGroup(t *testing.T) {
	t.Parallel()
	harness.Twice(t, testGroup)
}

func testGroup(t testing.TB) {
	targets, user := harness.StartTargets(t), harness.Users()[0]
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer page.Close()
	entry := harness.Road{Protocol: "vless"}
	port := harness.FreePort(t)
	var members []harness.JSON
	behind := make(map[string]*harness.Process)
	inbounds := make(map[string]harness.JSON)
	for _, name := range []string{"one", "two"} {
		e := ssExit("aes-128-gcm", true)
		e.inbound["listen"], e.inbound["listen_port"] = harness.Loopback, harness.FreePort(t)
		inbounds[name] = e.inbound
		behind[name] = harness.StartReal(t, harness.SingBox, e.inbound)
		maps.Copy(e.outbound, harness.JSON{"tag": name, "server": harness.Loopback, "server_port": e.inbound["listen_port"]})
		members = append(members, e.outbound)
	}
	heki := harness.Run(t, harness.Heki, harness.WriteConfig(t, harness.JSON{
		"log": harness.JSON{"level": "debug"}, "state_dir": t.TempDir(),
		"inbounds": []harness.JSON{entry.Inbound(port, nil, harness.Users())},
		"outbounds": append(members, harness.JSON{
			"type": "group", "tag": "both", "outbounds": []string{"one", "two"}, "pick": "round_robin", "failover": true,
			"check": harness.JSON{"url": page.URL, "interval": "1s"},
		}),
		"route": harness.JSON{"rules": []harness.JSON{{"match": []string{"*"}, "outbound": "both"}}},
	}))
	heki.WaitPort(t, harness.Address(port))
	raw := harness.Raw{Road: entry, User: user, Server: harness.Address(port)}

	first := talk(t, raw, targets) // in turn: one, two, once the former is known to be there
	first.says(t, "hello")
	second := talk(t, raw, targets)
	second.says(t, "hello")
	harness.CheckParallel(t, raw, targets, 20)
	if _, err := behind["one"].Stop(); err != nil {
		t.Fatal(err)
	}
	harness.CheckParallel(t, raw, targets, 40) // before the check finds out, and after it
	heki.WaitLog(t, "outbound does not work")
	second.says(t, "still here")
	if _, err := first.conn.Read(make([]byte, 1)); err == nil {
		t.Error("the member that died still answers")
	}
	harness.CheckParallel(t, raw, targets, 40)
	behind["one"] = harness.StartReal(t, harness.SingBox, inbounds["one"])
	heki.WaitLog(t, "outbound works again")
	harness.CheckTCP(t, raw, targets, small)
	harness.CheckParallel(t, raw, targets, 20)
	second.says(t, "to the end")
	if !strings.Contains(heki.Log(), "both/one") || !strings.Contains(heki.Log(), "both/two") {
		t.Error("the log does not tell members apart")
	}
}

// talker is a connection to the echo target.
type talker struct{ conn harness.Duplex }

func talk(t testing.TB, w harness.Way, targets *harness.Targets) talker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := w.Dial(ctx, targets.TCP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(5 * time.Minute))
	if _, err := fmt.Fprintf(conn, "echo %d\n", time.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	return talker{conn}
}

// says fails unless text comes back.
func (c talker) says(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c.conn, b); err != nil || string(b) != text {
		t.Fatalf("read %q, %v; want %q", b, err, text)
	}
}

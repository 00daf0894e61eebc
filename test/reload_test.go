package test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"heki/panel/paneltest"
	"heki/test/harness"
)

// TestReload changes the configuration under a running heki: connections of unchanged inbounds live
// on, a bad file changes nothing, a removed inbound stops.
func TestReload(t *testing.T) {
	t.Parallel()
	cert := harness.NewCertificate(t)
	targets := harness.StartTargets(t)
	stay, leave, come := harness.FreePort(t), harness.FreePort(t), harness.FreePort(t)
	inbound := func(tag string, port uint16) harness.JSON {
		in := harness.Road{Protocol: "vless"}.Inbound(port, cert, harness.Users())
		in["tag"] = tag
		return in
	}
	config := harness.JSON{"log": harness.JSON{"level": "debug"}, "state_dir": t.TempDir()}
	config["inbounds"] = []harness.JSON{inbound("stay", stay), inbound("leave", leave)}
	path := harness.WriteConfig(t, config)
	p := harness.Run(t, harness.Heki, path)
	p.WaitPort(t, harness.Address(stay))
	p.WaitPort(t, harness.Address(leave))
	way := func(port uint16) harness.Way {
		return harness.Raw{Road: harness.Road{Protocol: "vless"}, User: harness.Users()[0], Server: harness.Address(port)}
	}
	kept := startFlow(t, way(stay), targets.TCP)

	if err := os.WriteFile(path, []byte(`{"inbounds": [{"type": "vles"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Signal(syscall.SIGHUP)
	p.WaitLog(t, "the old one stays in force")
	startFlow(t, way(leave), targets.TCP).finish(t)
	kept.alive(t, "a connection after a bad reload")

	config["inbounds"] = []harness.JSON{inbound("stay", stay), inbound("come", come)}
	harness.RewriteConfig(t, path, config)
	p.Signal(syscall.SIGHUP)
	p.WaitLog(t, "configuration reloaded")
	startFlow(t, way(come), targets.TCP).finish(t)
	kept.alive(t, "a connection of an unchanged inbound")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if conn, err := way(leave).Dial(ctx, targets.TCP); err == nil {
		conn.Close()
		t.Error("a removed inbound still accepts")
	} else if !errors.Is(err, syscall.ECONNREFUSED) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("dial of a removed inbound: %v", err)
	}
	kept.finish(t)
}

// TestPanelReload reloads an unchanged file: a panel node's connections live on and no byte is lost.
func TestPanelReload(t *testing.T) {
	t.Parallel()
	harness.Twice(t, testPanelReload)
}

func testPanelReload(t testing.TB) {
	s := newSite(t, harness.Road{Protocol: "vless"}, 2, nil)
	p := s.start(t)
	kept := startFlow(t, s.client(t, harness.SingBox).Socks("1"), s.targets.TCP)
	p.Signal(syscall.SIGHUP)
	p.WaitLog(t, "configuration reloaded")
	s.nextSync(t)
	kept.alive(t, "a connection after the reload")
	up, down := kept.finish(t)
	s.billed(t, "over a reload", map[int]paneltest.Traffic{1: {Up: up, Down: down}})
}

// TestReloadOutbounds reloads other rules and outbounds: streams that share a connection to the server of an
// outbound live on, through a group too.
func TestReloadOutbounds(t *testing.T) {
	t.Parallel()
	cert := harness.NewCertificate(t)
	targets := harness.StartTargets(t)
	user := harness.Users()[0]
	entry, way := harness.Road{Protocol: "vless"}, harness.Road{Protocol: "vless", Transport: "grpc"}
	port, grouped, server := harness.FreePort(t), harness.FreePort(t), harness.FreePort(t)
	behind := harness.Run(t, harness.Heki, harness.WriteConfig(t, harness.JSON{
		"state_dir": t.TempDir(), "inbounds": []harness.JSON{way.Inbound(server, cert, harness.Users())},
	}))
	behind.WaitPort(t, harness.Address(server))
	out := roadExit("", way, cert, nil).outbound
	out["tag"], out["server"], out["server_port"] = "shared", harness.Loopback, server
	one, two := entry.Inbound(port, nil, harness.Users()), entry.Inbound(grouped, nil, harness.Users())
	one["tag"], two["tag"] = "one", "two"
	rules := []harness.JSON{{"match": []string{"inbound:one"}, "outbound": "shared"}, {"match": []string{"inbound:two"}, "outbound": "group"}}
	config := harness.JSON{
		"log": harness.JSON{"level": "debug"}, "state_dir": t.TempDir(), "inbounds": []harness.JSON{one, two},
		"outbounds": []harness.JSON{out, {"type": "group", "tag": "group", "outbounds": []string{"shared"}}},
		"route":     harness.JSON{"rules": rules},
	}
	path := harness.WriteConfig(t, config)
	p := harness.Run(t, harness.Heki, path)
	p.WaitPort(t, harness.Address(port))
	p.WaitPort(t, harness.Address(grouped))
	alone := harness.Raw{Road: entry, User: user, Server: harness.Address(port)}
	kept, member := startFlow(t, alone, targets.TCP), startFlow(t, harness.Raw{Road: entry, User: user, Server: harness.Address(grouped)}, targets.TCP)

	config["route"] = harness.JSON{"rules": append(rules, harness.JSON{"match": []string{"domain:blocked.example"}, "outbound": "block"})}
	config["outbounds"] = append(config["outbounds"].([]harness.JSON), harness.JSON{"type": "direct", "tag": "another"})
	harness.RewriteConfig(t, path, config)
	p.Signal(syscall.SIGHUP)
	p.WaitLog(t, "configuration reloaded")
	startFlow(t, alone, targets.TCP).finish(t)
	kept.alive(t, "a connection of an unchanged outbound")
	member.alive(t, "a connection through a group")
	kept.finish(t)
	member.finish(t)
}

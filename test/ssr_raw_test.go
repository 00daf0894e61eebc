package test

import (
	"crypto/rand"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/ssr"
	"heki/internal/protocol/wire/wiretest"
	"heki/test/harness"
)

// ssrGate is a port that our own client knocks at, with a fallback that tells who was refused.
type ssrGate struct {
	codec  *ssr.Port
	config harness.JSON
	in     harness.JSON
	path   string
	heki   *harness.Process
	server string
	target string
	conns  atomic.Uint32
}

func newSSRGate(t *testing.T, p ssrPort, mode string) *ssrGate {
	t.Helper()
	p.port = harness.FreePort(t)
	codec, err := ssr.NewPort(ssr.Config{Method: p.method, Password: ssrPassword, Protocol: p.protocol, Obfs: p.obfs})
	if err != nil {
		t.Fatal(err)
	}
	g := &ssrGate{codec: codec, in: p.server(mode), server: harness.Address(p.port), target: harness.StartTargets(t).TCP}
	g.in["type"], g.in["tag"], g.in["listen"], g.in["users"] = "shadowsocksr", "in", harness.Loopback, ssrUsers()
	g.in["mu_regex"], g.in["mu_suffix"] = "%id.%suffix", "users.example"
	g.in["fallback"] = harness.JSON{"server": harness.Loopback, "server_port": harness.StartWeb(t).Port}
	g.config = harness.JSON{"log": harness.JSON{"level": "debug"}, "state_dir": t.TempDir(), "inbounds": []harness.JSON{g.in}}
	g.path = harness.WriteConfig(t, g.config)
	g.heki = harness.Run(t, harness.Heki, g.path)
	g.heki.WaitPort(t, g.server)
	return g
}

// flight is all that a client of the first user says before it has an answer, when its clock is ahead.
func (g *ssrGate) flight(ahead time.Duration) []byte {
	u := ssrUsers()[0]
	id := ssr.Identity{
		UID: uint32(u["id"].(int)), Key: g.codec.UserKey(u["password"].(string)), ClientID: 7, ConnID: 100 + g.conns.Add(1),
		Host: fmt.Sprintf("%d.users.example", u["id"]), Port: 80, Session: [32]byte{7},
	}
	var seed [32]byte
	_, _ = rand.Read(seed[:])
	fake := wiretest.New(strings.NewReader(""))
	stream := g.codec.Client(fake, id, M.ParseSocksaddr(g.target), time.Now().Add(ahead), seed, nil)
	_, _ = stream.Write([]byte("echo\nhello"))
	return []byte(strings.Join(fake.Writes(), ""))
}

// knock sends a first flight and says whether it was served: what answers is not the fallback.
func (g *ssrGate) knock(t *testing.T, flight []byte) bool {
	t.Helper()
	answer, closed, err := harness.Raw{Server: g.server}.Probe(flight, true, patience)
	if err != nil || !closed || len(answer) == 0 {
		t.Fatalf("first flight of %d bytes: answer %q, closed %t, %v", len(flight), answer, closed, err)
	}
	return string(answer) != harness.Page
}

// ssrGates are ports that know when a client comes again: by the protocol, or by its TLS hello.
func ssrGates() map[string]ssrPort {
	gates := map[string]ssrPort{"tls1.2_ticket_auth": {method: "aes-256-ctr", protocol: "origin", obfs: "tls1.2_ticket_auth"}}
	for _, protocol := range []string{
		"auth_aes128_md5", "auth_aes128_sha1", "auth_chain_a", "auth_chain_b", "auth_chain_c", "auth_chain_d", "auth_chain_e", "auth_chain_f",
	} {
		gates[protocol] = ssrPort{method: "aes-256-ctr", protocol: protocol, obfs: "plain"}
	}
	return gates
}

// eachGate runs f with each of ssrGates.
func eachGate(t *testing.T, f func(t *testing.T, g *ssrGate)) {
	for name, p := range ssrGates() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mode := "protocol"
			if p.protocol == "origin" {
				mode = "obfs"
			}
			f(t, newSSRGate(t, p, mode))
		})
	}
}

// TestShadowsocksRReplay sends first flights again once their connection is over, as somebody on the way
// could who has copied them: to the same inbound, and to the one that took its place.
func TestShadowsocksRReplay(t *testing.T) {
	t.Parallel()
	eachGate(t, func(t *testing.T, g *ssrGate) {
		first := g.flight(0)
		if !g.knock(t, first) {
			t.Fatal("a user is refused")
		}
		for range 3 {
			if g.knock(t, first) {
				t.Error("a replay is served")
			}
		}
		g.in["obfs_param"] = "3600" // which http takes for a host; plain and TLS go on
		harness.RewriteConfig(t, g.path, g.config)
		_ = g.heki.Signal(syscall.SIGHUP)
		g.heki.WaitLog(t, "configuration reloaded")
		if g.knock(t, first) {
			t.Error("a replay is served after a reload")
		}
		if !g.knock(t, g.flight(0)) {
			t.Error("the user is refused after the replays")
		}
	})
}

// TestShadowsocksRClock lets clients come whose clocks are off.
func TestShadowsocksRClock(t *testing.T) {
	t.Parallel()
	eachGate(t, func(t *testing.T, g *ssrGate) {
		for ahead, served := range map[time.Duration]bool{
			0: true, 24*time.Hour - time.Minute: true, time.Minute - 24*time.Hour: true,
			24*time.Hour + time.Minute: false, -24*time.Hour - time.Minute: false,
		} {
			if got := g.knock(t, g.flight(ahead)); got != served {
				t.Errorf("%s ahead: served %t, want %t", ahead, got, served)
			}
		}
	})
}

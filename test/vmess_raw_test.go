package test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"heki/test/harness"
)

// vmessGate is a VMess server on one port with a user of each way to authenticate, whose fallback tells
// who was refused.
type vmessGate struct {
	raw     harness.Raw
	targets *harness.Targets
}

// vmessUsers are a user of AEAD, one of MD5, and another one of AEAD.
func vmessUsers() []harness.User {
	users := harness.Users()
	users[1].AlterID = 4
	return users
}

func newVMessGate(t *testing.T) vmessGate {
	t.Helper()
	web, port := harness.StartWeb(t), harness.FreePort(t)
	road := harness.Road{Protocol: "vmess"}
	in := road.Inbound(port, nil, vmessUsers())
	in["fallback"] = harness.JSON{"server": harness.Loopback, "server_port": web.Port}
	harness.StartServer(t, in)
	return vmessGate{raw: harness.Raw{Road: road, Server: harness.Address(port)}, targets: harness.StartTargets(t)}
}

// flight is a first flight that asks the echo target for text, whose end Result(id) tells.
func (g vmessGate) flight(t *testing.T, id uint64, text string) []byte {
	t.Helper()
	b, err := g.raw.FirstFlight(g.targets.TCP, fmt.Appendf(nil, "echo %d\n%s", id, text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// knock sends a first flight and says whether it was served: what answers is not the fallback.
func (g vmessGate) knock(t *testing.T, flight []byte) (served bool) {
	t.Helper()
	answer, closed, err := g.raw.Probe(flight, true, patience)
	if err != nil || !closed || len(answer) == 0 {
		t.Fatalf("first flight: answer %q, closed %t, %v", answer, closed, err)
	}
	return string(answer) != harness.Page
}

// TestVMessReplay sends first flights again, as somebody on the way could who has copied them.
func TestVMessReplay(t *testing.T) {
	t.Parallel()
	for name, user := range map[string]harness.User{"aead": vmessUsers()[0], "md5": vmessUsers()[1]} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newVMessGate(t)
			g.raw.User = user
			id := rand.Uint64()
			first := g.flight(t, id, "hello")
			if !g.knock(t, first) {
				t.Fatal("a user is refused")
			}
			select {
			case got := <-g.targets.Result(id):
				if got != "5 bytes" {
					t.Errorf("the target read %s, want 5", got)
				}
			case <-time.After(patience):
				t.Fatal("the target was not reached")
			}
			for i := range 3 {
				if g.knock(t, first) {
					t.Errorf("replay %d is served", i+1)
				}
			}
			g.raw.Ahead = 5 * time.Second // an MD5 auth id, the same within a second, is nobody's once it was replayed
			if !g.knock(t, g.flight(t, rand.Uint64(), "again")) {
				t.Error("the user is refused after the replays")
			}
		})
	}
}

// TestVMessClock lets clients come whose clocks are off.
func TestVMessClock(t *testing.T) {
	t.Parallel()
	g := newVMessGate(t)
	for name, user := range map[string]harness.User{"aead": vmessUsers()[0], "md5": vmessUsers()[1]} {
		for _, c := range []struct {
			ahead  time.Duration
			served bool
		}{
			{0, true},
			{100 * time.Second, true}, // the limit is 120 s; inbound/vmess has the second
			{-100 * time.Second, true},
			{140 * time.Second, false},
			{-140 * time.Second, false},
			{time.Hour, false},
		} {
			t.Run(fmt.Sprintf("%s/%s", name, c.ahead), func(t *testing.T) {
				t.Parallel()
				g := g
				g.raw.User, g.raw.Ahead = user, c.ahead
				if served := g.knock(t, g.flight(t, rand.Uint64(), "hello")); served != c.served {
					t.Errorf("served: %t, want %t", served, c.served)
				}
			})
		}
	}
}

// TestVMessMixed has users of AEAD and of MD5 on one port, each with the real clients of its kind.
func TestVMessMixed(t *testing.T) {
	t.Parallel()
	for name, road := range map[string]harness.Road{"tcp": {Protocol: "vmess"}, "ws": {Protocol: "vmess", Transport: "ws"}} {
		harness.Cell(t, name, func(t testing.TB) {
			targets, port, users := harness.StartTargets(t), harness.FreePort(t), vmessUsers()
			harness.StartServer(t, road.Inbound(port, nil, users))
			var wg sync.WaitGroup
			defer wg.Wait()
			for _, c := range []struct {
				client string
				user   int
			}{
				{harness.SingBox, 0},
				{harness.V2Ray, 1},
				{harness.Xray, 2},
				{harness.Mihomo, 1},
			} {
				l := lane{Lane: harness.Lane{Name: "user", User: users[c.user], Security: "aes-128-gcm"}}
				client := harness.StartClient(t, c.client, road, port, nil, l.Lane)
				wg.Go(func() {
					harness.Part(t, c.client, func(t testing.TB) {
						way := wayOf(c.client, road, l, client.Socks("user"))
						harness.CheckTCP(t, way, targets, small)
						harness.Part(t, "parallel", func(t testing.TB) { harness.CheckParallel(t, way, targets, 40) })
					})
				})
			}
		})
	}
}

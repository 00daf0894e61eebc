package test

import (
	"strings"
	"testing"

	"heki/panel/paneltest"
	"heki/test/harness"
)

const vision = "xtls-rprx-vision"

// visionUsers are the users of an inbound of which the last has no flow.
func visionUsers() []harness.User {
	users := harness.Users()
	for i := range users[:2] {
		users[i].Flow = vision
	}
	return users
}

// visionLanes are the first two users with their flow, and the third without.
func visionLanes(client string) []lane {
	users := visionUsers()
	at := func(name string, user int) lane {
		return lane{Lane: harness.Lane{Name: name, User: users[user], Flow: users[user].Flow}, tcp: true, udp: harness.Full}
	}
	flow, utls, none := at("vision", 0), at("utls", 1), at("no-flow", 2)
	flow.Encoding, utls.Encoding, none.Encoding = "xudp", "xudp", "xudp"
	utls.UTLS, utls.size, none.size = "firefox", small, small
	if client == harness.Xray { // its TLS copies no browser here
		return []lane{flow, none}
	}
	return []lane{flow, utls, none}
}

// TestVision drives VLESS with Vision over TLS and REALITY, beside a user without the flow.
func TestVision(t *testing.T) {
	for _, client := range []string{harness.SingBox, harness.Xray, harness.Mihomo} {
		for name, road := range map[string]harness.Road{"tls": {TLS: true}, "reality": {}} {
			road.Protocol = "vless"
			t.Run(client+"/"+name, func(t *testing.T) {
				t.Parallel()
				if name == "reality" {
					road.Reality = harness.StartReality(t)
				}
				t.Run("plain", func(t *testing.T) { testLanes(t, client, road, visionUsers(), visionLanes(client)) })
				t.Run("secure", func(t *testing.T) {
					harness.Twice(t, func(t testing.TB) { testVisionSecure(t, client, road) })
				})
				t.Run("wrong", func(t *testing.T) {
					harness.Twice(t, func(t testing.TB) { testVisionWrong(t, client, road) })
				})
			})
		}
	}
}

// testVisionSecure does what a browser does, TLS inside the tunnel, and wants the server to have taken
// both directions out of the outer TLS.
func testVisionSecure(t testing.TB, client string, road harness.Road) {
	targets, cert, port := harness.StartTargets(t), harness.NewCertificate(t), harness.FreePort(t)
	secure := harness.StartSecure(t, targets)
	p := harness.StartServer(t, road.Inbound(port, cert, visionUsers()))
	l := visionLanes(client)[0]
	c := harness.StartClient(t, client, road, port, cert, l.Lane)
	way := secure.Way(c.Socks(l.Name))
	harness.CheckTCP(t, way, targets, full)
	harness.Part(t, "parallel", func(t testing.TB) { harness.CheckParallel(t, way, targets, 40) })
	harness.Part(t, "half-close", func(t testing.TB) { harness.CheckHalfClose(t, way, targets) }) // of the TLS inside
	if harness.UnderTest() != harness.Heki {
		return
	}
	// Xray's client leaves TLS only when a read of its has ended with a record; heki finds the end.
	for direction, want := range map[string]int{"direction=up": 5, "direction=down": 40} {
		switched := 0
		for line := range strings.Lines(p.Log()) {
			if strings.Contains(line, "vision: direct copy") && strings.Contains(line, direction) {
				switched++
			}
		}
		if switched < want {
			t.Errorf("%d connections left TLS with %s, want at least %d", switched, direction, want)
		}
	}
}

// testVisionWrong lets clients ask for the flow that their user lacks, and for none where there is one.
func testVisionWrong(t testing.TB, client string, road harness.Road) {
	targets, cert, port := harness.StartTargets(t), harness.NewCertificate(t), harness.FreePort(t)
	p := harness.StartServer(t, road.Inbound(port, cert, visionUsers()))
	users := visionUsers()
	c := harness.StartClient(t, client, road, port, cert,
		harness.Lane{Name: "lacks", User: users[2], Flow: vision}, harness.Lane{Name: "forgets", User: users[0]})
	harness.CheckRefused(t, c.Socks("lacks"), targets)
	harness.CheckRefused(t, c.Socks("forgets"), targets)
	if harness.UnderTest() == harness.Heki {
		p.WaitLog(t, "asks for a flow that its user does not have")
		p.WaitLog(t, "does not ask for the flow that its user has")
	}
}

// TestPanelVision serves a panel's node with the flow: bytes are billed before and after the switch,
// and a user who is removed is cut after it.
func TestPanelVision(t *testing.T) {
	for _, client := range []string{harness.SingBox, harness.Xray, harness.Mihomo} {
		for name, road := range map[string]harness.Road{"tls": {TLS: true}, "reality": {Reality: &harness.Reality{}}} {
			road.Protocol = "vless"
			harness.Cell(t, client+"/"+name, func(t testing.TB) { testPanelVision(t, client, road) })
		}
	}
}

func testPanelVision(t testing.TB, client string, road harness.Road) {
	s := newSite(t, road, 2, nil)
	s.flow = vision
	node := s.node()
	node.Flow = s.flow
	s.panel.SetNode(node)
	p := s.start(t)
	c := s.client(t, client)
	secure := harness.StartSecure(t, s.targets)

	harness.CheckHalfClose(t, secure.Way(c.Socks("1")), s.targets) // nobody closes before all has come
	up, down := harness.Bill(t, c.Socks("2"), s.targets, small)
	s.billed(t, "after the checks", map[int]paneltest.Traffic{
		1: {Up: secure.Up.Load(), Down: secure.Down.Load()}, 2: {Up: up, Down: down},
	})
	p.WaitLog(t, "vision: direct copy")

	kept := startFlow(t, secure.Way(c.Socks("1")), s.targets.TCP)
	removed := startFlow(t, secure.Way(c.Socks("2")), s.targets.TCP)
	s.panel.SetUsers(s.panel.Users()[:1])
	s.cut(t, removed)
	kept.alive(t, "an unchanged user")
	kept.finish(t)
}

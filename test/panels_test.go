package test

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"heki/panel/paneltest"
	"heki/test/harness"
)

// fleet is a panel with a node for each of its cells, and one heki that serves them all. Clients use every
// node as both users, and the panel must be told exactly what they moved.
type fleet struct {
	panel   *paneltest.Server
	entry   harness.JSON // of "panels"; newFleet fills the rest
	reality *harness.Reality
	users   []paneltest.User

	nodes []harness.JSON
	ready []func(p *harness.Process)
	lanes map[string][]harness.Lane // of each client
	bills []bill
}

// bill is whose traffic over which lane belongs to which node.
type bill struct {
	client, lane string
	node, user   int
}

func newFleet(t testing.TB, panel *paneltest.Panel, entry harness.JSON) *fleet {
	t.Helper()
	server, err := paneltest.Start(panel)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	f := &fleet{panel: server, entry: entry, reality: harness.StartReality(t), lanes: make(map[string][]harness.Lane)}
	for i := range 2 {
		key := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "16 bytes of a %d.", i))
		f.users = append(f.users, paneltest.User{ID: 11 + i, UUID: paneltest.NewUUID(), Password: key})
		server.SetUser(f.users[i])
	}
	return f
}

// serve puts the node on the panel.
func (f *fleet) serve(row paneltest.Node) {
	f.panel.SetNode(row)
	f.nodes = append(f.nodes, harness.JSON{"id": row.ID, "listen": harness.Loopback})
}

// next is the id of the next node.
func (f *fleet) next() int { return len(f.nodes) + 1 }

// add has a node of road, which edit may change, and sing-box clients of it.
func (f *fleet) add(t testing.TB, road harness.Road, edit func(n *paneltest.Node, lane *harness.Lane, u paneltest.User)) {
	t.Helper()
	port := harness.FreePort(t)
	row := rowOf(road, f.next(), port)
	for _, u := range f.users {
		lane := harness.Lane{
			Name: fmt.Sprintf("%d-%s-%d", row.ID, road.Protocol, u.ID), User: account(u), Encoding: "xudp", Road: &road, Port: port,
		}
		if edit != nil {
			edit(&row, &lane, u)
		}
		f.lane(harness.SingBox, lane, row.ID, u.ID)
	}
	f.serve(row)
	f.ready = append(f.ready, func(p *harness.Process) { p.WaitInbound(t, road.Protocol, port) })
}

func (f *fleet) lane(client string, lane harness.Lane, node, user int) {
	f.lanes[client] = append(f.lanes[client], lane)
	f.bills = append(f.bills, bill{client, lane.Name, node, user})
}

// start runs heki, and clients with all lanes.
func (f *fleet) start(t testing.TB) (p *harness.Process, clients map[string]*harness.Client) {
	t.Helper()
	cert := harness.NewCertificate(t)
	tls := harness.JSON{"certificate_path": cert.CertPath, "key_path": cert.KeyPath}
	if f.entry["type"] == "xboard" { // its target is the server name, which nobody resolves here
		tls["reality"] = harness.JSON{"handshake": harness.JSON{"server": harness.Loopback, "server_port": f.reality.Target}}
	}
	maps.Copy(f.entry, harness.JSON{
		"name": "main", "url": f.panel.URL, "key": f.panel.Token(), "nodes": f.nodes, "node_defaults": harness.JSON{"tls": tls},
	})
	p = harness.Run(t, harness.Heki, harness.WriteConfig(t, harness.JSON{
		"log": harness.JSON{"level": "debug"}, "state_dir": t.TempDir(), "panels": []harness.JSON{f.entry},
	}))
	for _, wait := range f.ready {
		wait(p)
	}
	clients = make(map[string]*harness.Client)
	for name, lanes := range f.lanes {
		clients[name] = harness.StartClient(t, name, harness.Road{}, 1, cert, lanes...)
	}
	return p, clients
}

// run serves, moves bytes and looks at the panel's books.
func (f *fleet) run(t testing.TB) {
	t.Helper()
	targets := harness.StartTargets(t)
	p, clients := f.start(t)
	want := make(map[int]map[int]paneltest.Traffic)
	for i, b := range f.bills {
		harness.Part(t, b.lane, func(t testing.TB) {
			up, down := harness.Bill(t, clients[b.client].Socks(b.lane), targets, int64(100_000+i))
			if want[b.node] == nil {
				want[b.node] = make(map[int]paneltest.Traffic)
			}
			sum := want[b.node][b.user]
			want[b.node][b.user] = paneltest.Traffic{Up: sum.Up + up, Down: sum.Down + down}
		})
	}
	if t.Failed() {
		return
	}
	p.Stop()
	for _, node := range slices.Sorted(maps.Keys(want)) {
		if got := f.panel.TrafficOf(node); !maps.Equal(got, want[node]) {
			harness.Unforgivable(t)
			t.Errorf("node %d: the panel was told %v, want %v", node, got, want[node])
		}
	}
}

// Roads that more than one panel has.
var (
	vmessWS     = harness.Road{Protocol: "vmess", Transport: "ws"}
	vmessWSTLS  = harness.Road{Protocol: "vmess", Transport: "ws", TLS: true}
	vmessGRPC   = harness.Road{Protocol: "vmess", Transport: "grpc", TLS: true}
	trojanRoad  = harness.Road{Protocol: "trojan", TLS: true}
	trojanGRPC  = harness.Road{Protocol: "trojan", Transport: "grpc", TLS: true}
	trojanWSTLS = harness.Road{Protocol: "trojan", Transport: "ws", TLS: true}
	ssAEAD      = harness.Road{Protocol: "shadowsocks", Method: "chacha20-ietf-poly1305"}
	ssObfs      = harness.Road{Protocol: "shadowsocks", Method: "aes-128-gcm", Obfs: true}
	ss2022      = harness.Road{Protocol: "shadowsocks", Method: "2022-blake3-aes-128-gcm", PanelKeys: true}
)

// withVision has the flow on both ends.
func withVision(n *paneltest.Node, lane *harness.Lane, _ paneltest.User) {
	n.Flow, lane.Flow = vision, vision
}

// salamander hides Hysteria 2.
func salamander(n *paneltest.Node, lane *harness.Lane, _ paneltest.User) {
	n.Obfs, n.ObfsPassword = "salamander", "of the obfs"
	lane.Extra = harness.JSON{"obfs": harness.JSON{"type": "salamander", "password": "of the obfs"}}
}

// simpleObfs is in front of Shadowsocks.
func simpleObfs(n *paneltest.Node, _ *harness.Lane, _ paneltest.User) {
	n.Obfs, n.Path, n.Host = "http", "/", harness.ServerName
}

// overReality is VLESS with REALITY and Vision. The row names the target, as all panels but XBoard do.
func (f *fleet) overReality(t testing.TB) {
	t.Helper()
	f.add(t, harness.Road{Protocol: "vless", Reality: f.reality}, func(n *paneltest.Node, lane *harness.Lane, u paneltest.User) {
		withVision(n, lane, u)
		n.Dest, n.DestPort = harness.Loopback, fmt.Sprint(f.reality.Target)
	})
}

// modern adds what the panels of the v2board family that are developed further have all.
func (f *fleet) modern(t testing.TB) {
	t.Helper()
	for _, road := range []harness.Road{vmessWS, vmessWSTLS, vmessGRPC, trojanRoad, trojanGRPC, trojanWSTLS, ssAEAD, ss2022, anyTLSRoad, hysteria2Road} {
		f.add(t, road, nil)
	}
	f.add(t, harness.Road{Protocol: "vless"}, nil)
	f.add(t, harness.Road{Protocol: "vless", Transport: "ws", TLS: true}, nil)
	f.add(t, harness.Road{Protocol: "vless", TLS: true}, withVision)
	f.add(t, harness.Road{Protocol: "vless", Transport: "grpc", TLS: true}, nil)
	f.add(t, hysteria2Road, salamander)
	f.add(t, ssObfs, simpleObfs)
	f.overReality(t)
}

// TestPanels has a real client on every node that each panel can hand out.
func TestPanels(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]int{"v2": 2, "v1": 1} {
		harness.Cell(t, "xboard-"+name, func(t testing.TB) {
			f := newFleet(t, paneltest.New("the token of the test"), harness.JSON{"type": "xboard", "api_version": version})
			f.modern(t)
			f.add(t, harness.Road{Protocol: "vless", Transport: "httpupgrade", TLS: true}, nil)
			f.add(t, harness.Road{Protocol: "trojan", Reality: f.reality}, nil)
			f.run(t)
		})
		harness.Cell(t, "xiaov2board-"+name, func(t testing.TB) {
			f := newFleet(t, paneltest.NewXiaoV2board("the token of the test"), harness.JSON{"type": "xiaov2board", "api_version": version})
			f.modern(t)
			f.run(t)
		})
	}
	harness.Cell(t, "v2board", func(t testing.TB) {
		f := newFleet(t, paneltest.NewV2board("the token of the test"), harness.JSON{"type": "v2board"})
		for _, road := range []harness.Road{{Protocol: "vmess"}, vmessWS, vmessWSTLS, vmessGRPC, {Protocol: "vmess", Transport: "http", TLS: true}, trojanRoad, ssAEAD, ss2022} {
			f.add(t, road, nil)
		}
		f.add(t, ssObfs, simpleObfs)
		f.run(t)
	})
	harness.Cell(t, "ppanel", func(t testing.TB) {
		f := newFleet(t, paneltest.NewPPanel("the key of the test"), harness.JSON{"type": "ppanel"})
		f.everyPPanel(t)
		f.run(t)
	})
	for name, legacy := range map[string]bool{"modern": false, "legacy": true} {
		harness.Cell(t, "sspanel-"+name, func(t testing.TB) {
			f := newFleet(t, paneltest.NewSSPanel("the key of the test", legacy), harness.JSON{"type": "sspanel"})
			for _, road := range []harness.Road{{Protocol: "vmess"}, vmessWS, vmessWSTLS, vmessGRPC, trojanRoad, trojanGRPC, {Protocol: "vless", TLS: true}} {
				f.add(t, road, nil)
			}
			if legacy {
				f.legacySSPanel(t)
			} else {
				f.modernSSPanel(t)
			}
			f.run(t)
		})
	}
}

// everyPPanel has what a PPanel can hand out. Its key of Shadowsocks 2022 is a text.
func (f *fleet) everyPPanel(t testing.TB) {
	t.Helper()
	for _, road := range []harness.Road{
		{Protocol: "vmess"},
		vmessWS, vmessWSTLS, vmessGRPC, trojanRoad, trojanGRPC, trojanWSTLS, ssAEAD, anyTLSRoad, hysteria2Road,
		{Protocol: "vless"},
		{Protocol: "vless", Transport: "ws", TLS: true},
		{Protocol: "vless", Transport: "grpc", TLS: true},
		{Protocol: "vless", Transport: "httpupgrade", TLS: true},
	} {
		f.add(t, road, nil)
	}
	f.add(t, harness.Road{Protocol: "vless", TLS: true}, withVision)
	f.add(t, hysteria2Road, salamander)
	f.add(t, ssObfs, simpleObfs)
	f.overReality(t)
	f.add(t, ss2022, func(n *paneltest.Node, lane *harness.Lane, u paneltest.User) {
		n.ServerKey = base64.StdEncoding.EncodeToString([]byte("24920decf83f6960"))
		lane.Extra = harness.JSON{"password": n.ServerKey + ":" + base64.StdEncoding.EncodeToString([]byte(u.UUID[:16]))}
	})
}

// modernSSPanel has what only SSPanels of today have.
func (f *fleet) modernSSPanel(t testing.TB) {
	t.Helper()
	f.add(t, trojanWSTLS, nil)
	f.overReality(t)
	f.add(t, ss2022, func(_ *paneltest.Node, lane *harness.Lane, u paneltest.User) {
		lane.Extra = harness.JSON{"password": ss2022.ServerKey() + ":" + u.Password} // the panel has made the key
	})
	f.ownPorts(t, "aes-256-gcm", "chacha20-ietf-poly1305")
}

// ownPorts is a node on which each user has a port and a method.
func (f *fleet) ownPorts(t testing.TB, methods ...string) {
	t.Helper()
	id := f.next()
	for i, method := range methods {
		u := &f.users[i]
		u.Port, u.Method, u.Protocol, u.Obfs = int(harness.FreePort(t)), method, "origin", "plain"
		road := harness.Road{Protocol: "shadowsocks", Method: method}
		if strings.HasPrefix(method, "rc4") {
			u.Protocol, u.Obfs = "auth_aes128_sha1", "http_simple"
			p := ssrPort{name: "own-ssr", method: method, protocol: u.Protocol, obfs: u.Obfs, host: "www.example.com", port: uint16(u.Port)}
			f.lane(harness.Mihomo, p.lane(u.Password, ""), id, u.ID)
		} else {
			f.lane(harness.SingBox, harness.Lane{
				Name: fmt.Sprint("own-", i), User: harness.User{Password: u.Password}, Road: &road, Port: uint16(u.Port),
			}, id, u.ID)
		}
		f.panel.SetUser(*u)
		f.ready = append(f.ready, func(p *harness.Process) { p.WaitPort(t, harness.Address(uint16(u.Port))) })
	}
	f.serve(paneltest.Node{ID: id, Protocol: "shadowsocks", MuOnly: -1})
}

// legacySSPanel has what only old SSPanels have: carriers, and rows of ShadowsocksR.
func (f *fleet) legacySSPanel(t testing.TB) {
	t.Helper()
	f.add(t, harness.Road{Protocol: "vmess"}, func(n *paneltest.Node, lane *harness.Lane, _ paneltest.User) {
		n.AlterID, lane.User.AlterID = 2, 2
	})
	f.ownPorts(t, "rc4-md5", "aes-256-gcm")
	f.carriers(t, paneltest.User{Method: "aes-128-gcm", Protocol: "origin", Obfs: "plain", Carrier: 1})
	f.carriers(t,
		paneltest.User{Method: "chacha20-ietf", Protocol: "auth_aes128_md5", Obfs: "plain", Carrier: 2},
		paneltest.User{Method: "aes-256-cfb", Protocol: "auth_chain_a", Obfs: "plain", Carrier: 2},
		paneltest.User{Method: "aes-128-ctr", Protocol: "auth_aes128_sha1", Obfs: "http_simple", Carrier: 1},
	)
}

// carriers is a node whose users share the carriers' ports.
func (f *fleet) carriers(t testing.TB, carriers ...paneltest.User) {
	t.Helper()
	id := f.next()
	for i, c := range carriers {
		c.ID, c.Nodes, c.Port, c.Password = 900+10*id+i, []int{id}, int(harness.FreePort(t)), ssrPassword
		f.panel.SetUser(c)
		f.ready = append(f.ready, func(p *harness.Process) { p.WaitPort(t, harness.Address(uint16(c.Port))) })
		for _, u := range f.users {
			p := ssrPort{
				name: fmt.Sprintf("%s-%s-%d", c.Protocol, c.Obfs, u.ID), method: c.Method, protocol: c.Protocol, obfs: c.Obfs,
				host: muHost(u), port: uint16(c.Port),
			}
			if c.Protocol == "origin" {
				road := harness.Road{Protocol: "shadowsocks", Method: c.Method}
				f.lane(harness.SingBox, harness.Lane{Name: p.name, User: harness.User{Password: u.Password}, Road: &road, Port: p.port}, id, u.ID)
				continue
			}
			f.lane(harness.Mihomo, p.lane(ssrPassword, fmt.Sprintf("%d:%s", u.ID, u.Password)), id, u.ID)
		}
	}
	f.serve(paneltest.Node{ID: id, Protocol: "shadowsocks", MuOnly: 1})
}

// muHost is a user's host as the panel puts it into links.
func muHost(u paneltest.User) string {
	sum := md5.Sum([]byte(fmt.Sprint(u.ID) + u.Password + u.Method + u.Obfs + u.Protocol))
	return hex.EncodeToString(sum[:])[:5] + fmt.Sprint(u.ID) + ".microsoft.com"
}

// TestPanelCarrierMoves gives a carrier another port while connections are open on another carrier's port
// and on a user's own: they live on, those ports take more, and the carrier is found at its new one.
func TestPanelCarrierMoves(t *testing.T) {
	t.Parallel()
	harness.Twice(t, testPanelCarrierMoves)
}

func testPanelCarrierMoves(t testing.TB) {
	f := newFleet(t, paneltest.NewSSPanel("the key of the test", true), harness.JSON{"type": "sspanel", "sync_interval": interval.String()})
	f.ownPorts(t, "rc4-md5", "aes-256-gcm")
	f.panel.RemoveNode(1)
	f.nodes, f.bills = nil, nil
	own := f.lanes[harness.SingBox][0].Name
	f.carriers(t,
		paneltest.User{Method: "chacha20-ietf", Protocol: "auth_aes128_md5", Obfs: "plain", Carrier: 2},
		paneltest.User{Method: "aes-256-cfb", Protocol: "auth_chain_a", Obfs: "plain", Carrier: 2},
	)
	f.panel.SetNode(paneltest.Node{ID: 1, Protocol: "shadowsocks"}) // both kinds of ports
	p, clients := f.start(t)
	targets := harness.StartTargets(t)
	stays, moves := clients[harness.Mihomo].Socks("auth_aes128_md5-plain-11"), clients[harness.Mihomo].Socks("auth_chain_a-plain-12")
	mine := clients[harness.SingBox].Socks(own)
	startFlow(t, moves, targets.TCP).finish(t)
	kept, alone := startFlow(t, stays, targets.TCP), startFlow(t, mine, targets.TCP)

	port := harness.FreePort(t)
	f.panel.SetUser(paneltest.User{
		ID: 911, Nodes: []int{1}, Port: int(port), Password: ssrPassword, Method: "aes-256-cfb", Protocol: "auth_chain_a", Obfs: "plain", Carrier: 2,
	})
	p.WaitPort(t, harness.Address(port))
	kept.alive(t, "a connection to the other carrier's port")
	alone.alive(t, "a connection to a user's own port")
	startFlow(t, stays, targets.TCP).finish(t)
	startFlow(t, mine, targets.TCP).finish(t)
	harness.CheckRefused(t, moves, targets)
	kept.finish(t)
	alone.finish(t)
}

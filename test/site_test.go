package test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"heki/panel/paneltest"
	"heki/test/harness"
)

// Every panel test has its own panel, its own heki and its own real client: nodeID is served at a
// free port, and the intervals are the shortest that heki takes.
const (
	nodeID   = 1
	interval = 5 * time.Second
	patience = 3*interval + 30*time.Second // of whatever a sync or a report must bring about
)

// site is one panel with one node, and the heki that serves it.
type site struct {
	panel   *paneltest.Server
	road    harness.Road
	mux     bool // Xray's clients use Mux.Cool
	flow    string
	cert    *harness.Certificate
	port    uint16
	config  harness.JSON
	path    string // of the configuration file
	targets *harness.Targets
}

// newSite makes a panel with users 1 to n and a heki configuration for it. Nothing of heki runs yet.
func newSite(t testing.TB, road harness.Road, users int, edit func(config harness.JSON)) *site {
	t.Helper()
	panel, err := paneltest.Start(paneltest.New("token of the test"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(panel.Close)
	if road.Reality != nil {
		road.Reality = harness.StartReality(t)
	}
	s := &site{panel: panel, road: road, cert: harness.NewCertificate(t), port: harness.FreePort(t), targets: harness.StartTargets(t)}
	panel.SetNode(s.node())
	for range users {
		panel.SetUser(paneltest.User{})
	}
	s.config = harness.JSON{
		"log":       harness.JSON{"level": "debug"},
		"state_dir": t.TempDir(),
		"panels": []harness.JSON{{
			"name": "main", "type": "xboard", "url": panel.URL, "key": panel.Token(),
			"sync_interval": interval.String(), "report_interval": interval.String(), "timeout": "2s",
			"nodes": []harness.JSON{{
				"id": nodeID, "listen": harness.Loopback,
				"tls": harness.JSON{"certificate_path": s.cert.CertPath, "key_path": s.cert.KeyPath},
			}},
		}},
	}
	if road.Reality != nil { // the panel's target is the server name, which nobody resolves here
		s.config["panels"].([]harness.JSON)[0]["node_defaults"] = harness.JSON{"tls": harness.JSON{"reality": harness.JSON{
			"handshake": harness.JSON{"server": harness.Loopback, "server_port": road.Reality.Target},
		}}}
	}
	if edit != nil {
		edit(s.config)
	}
	s.path = harness.WriteConfig(t, s.config)
	return s
}

// node is the panel's row of the site's road.
func (s *site) node() paneltest.Node {
	return rowOf(s.road, nodeID, s.port)
}

// rowOf is the panel's row of a node that is served on a road.
func rowOf(road harness.Road, id int, port uint16) paneltest.Node {
	n := paneltest.Node{ID: id, Protocol: road.Protocol, Port: int(port), Network: "tcp"}
	if road.TLS {
		n.TLS, n.ServerName = 1, harness.ServerName
	}
	if r := road.Reality; r != nil {
		n.TLS, n.ServerName, n.PrivateKey, n.ShortID = 2, harness.ServerName, r.Private, r.ShortID
	}
	if road.Method != "" {
		n.Cipher, n.ServerKey = road.Method, road.ServerKey()
	}
	switch road.Transport {
	case "ws", "http", "httpupgrade":
		n.Network, n.Path = road.Transport, harness.Path
	case "grpc":
		n.Network, n.ServiceName = "grpc", harness.Service
	}
	return n
}

// start runs heki until it serves the node.
func (s *site) start(t testing.TB) *harness.Process {
	t.Helper()
	p := harness.Run(t, harness.Heki, s.path)
	p.WaitInbound(t, s.road.Protocol, s.port)
	return p
}

// account is a panel user as a client knows it; the panels hand out the UUID as Trojan's password.
func account(u paneltest.User) harness.User {
	return harness.User{Name: fmt.Sprint(u.ID), UUID: u.UUID, Password: u.UUID}
}

// client runs a real client with one lane per panel user, called by the user's id.
func (s *site) client(t testing.TB, name string) *harness.Client {
	t.Helper()
	var lanes []harness.Lane
	for _, u := range s.panel.Users() {
		lanes = append(lanes, harness.Lane{Name: fmt.Sprint(u.ID), User: account(u), Encoding: "xudp", Mux: s.mux, Flow: s.flow})
	}
	return harness.StartClient(t, name, s.road, s.port, s.cert, lanes...)
}

// panelCell is one cell of the panel tests.
type panelCell struct {
	client string
	road   harness.Road
	mux    bool
}

// panelCells are both clients, both protocols, light and heavy transports, and Mux.Cool, which hides
// many connections of a user in one.
func panelCells() map[string]panelCell {
	vless, trojan := harness.Road{Protocol: "vless"}, harness.Road{Protocol: "trojan"}
	wsTLS := harness.Road{Protocol: "vless", Transport: "ws", TLS: true}
	trojanTLS, trojanWS := harness.Road{Protocol: "trojan", TLS: true}, harness.Road{Protocol: "trojan", Transport: "ws"}
	reality := harness.Road{Protocol: "vless", Reality: new(harness.Reality)} // newSite fills it
	return map[string]panelCell{
		"sing-box/vless/reality":  {harness.SingBox, reality, false},
		"sing-box/vless/tcp":      {harness.SingBox, vless, false},
		"sing-box/vless/ws-tls":   {harness.SingBox, wsTLS, false},
		"sing-box/trojan/tcp-tls": {harness.SingBox, trojanTLS, false},
		"sing-box/trojan/ws":      {harness.SingBox, trojanWS, false},
		"xray/vless/tcp":          {harness.Xray, vless, false},
		"xray/vless/tcp/mux":      {harness.Xray, vless, true},
		"xray/vless/ws-tls":       {harness.Xray, wsTLS, false},
		"xray/trojan/tcp/mux":     {harness.Xray, trojan, true},
		"xray/trojan/tcp-tls":     {harness.Xray, trojanTLS, false},
		"sing-box/ss":             {harness.SingBox, harness.Road{Protocol: "shadowsocks", Method: "aes-256-gcm"}, false},
		"mihomo/ss2022":           {harness.Mihomo, harness.Road{Protocol: "shadowsocks", Method: "2022-blake3-aes-128-gcm", PanelKeys: true}, false},
		"sing-box/ss2022":         {harness.SingBox, harness.Road{Protocol: "shadowsocks", Method: "2022-blake3-aes-256-gcm", PanelKeys: true}, false},
		"sing-box/anytls":         {harness.SingBox, anyTLSRoad, false},
		"sing-box/hysteria2":      {harness.SingBox, hysteria2Road, false},
	}
}

// eventually polls until done says so, and fails the test after patience.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// nextSync waits until heki has asked for the users once more, from the start.
func (s *site) nextSync(t testing.TB) {
	t.Helper()
	before := s.panel.Requests(paneltest.Users)
	eventually(t, "next sync", func() bool { return s.panel.Requests(paneltest.Users) > before })
}

// flow is one connection that echoes a small message over and over.
type flow struct {
	id     uint64
	rounds atomic.Int64
	bytes  atomic.Int64 // each way
	ended  chan error   // why it ended; nil when told to stop
	stop   chan struct{}
}

// startFlow opens a flow and proves that it works before it returns.
func startFlow(t testing.TB, way harness.Way, destination string) *flow {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := way.Dial(ctx, destination)
	if err != nil {
		t.Fatal(err)
	}
	f := &flow{id: rand.Uint64(), ended: make(chan error, 1), stop: make(chan struct{})}
	if _, err := io.WriteString(conn, f.command()); err != nil {
		t.Fatal(err)
	}
	first := make(chan struct{})
	go func() {
		defer conn.Close()
		f.ended <- f.run(conn, first)
	}()
	select {
	case <-first:
	case err := <-f.ended:
		t.Fatalf("flow did not start: %v", err)
	}
	return f
}

func (f *flow) command() string { return fmt.Sprintf("echo %d\n", f.id) }

func (f *flow) run(conn harness.Duplex, first chan struct{}) error {
	message := make([]byte, 1000)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn.SetDeadline(time.Now().Add(patience))
		if _, err := conn.Write(message); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, message); err != nil {
			return err
		}
		f.bytes.Add(int64(len(message)))
		if f.rounds.Add(1) == 1 {
			close(first)
		}
		select {
		case <-f.stop:
			return nil
		case <-tick.C:
		}
	}
}

// finish ends the flow and returns what it moved each way, the command included in up.
func (f *flow) finish(t testing.TB) (up, down int64) {
	t.Helper()
	close(f.stop)
	if err := <-f.ended; err != nil {
		t.Errorf("flow: %v", err)
	}
	return f.bytes.Load() + int64(len(f.command())), f.bytes.Load()
}

// alive wants the flow to move on.
func (f *flow) alive(t testing.TB, what string) {
	t.Helper()
	before := f.rounds.Load()
	eventually(t, what+" goes on", func() bool {
		select {
		case err := <-f.ended:
			t.Fatalf("%s ended: %v", what, err)
		default:
		}
		return f.rounds.Load() > before+1
	})
}

// cut wants all flows to end by the sync after now, before another one could. The target sees the end first:
// Xray lets its own SOCKS side wait for up to two seconds more.
func (s *site) cut(t testing.TB, flows ...*flow) {
	t.Helper()
	s.nextSync(t)
	deadline := time.After(interval)
	for i, f := range flows {
		select {
		case <-s.targets.Result(f.id):
		case <-deadline:
			t.Errorf("flow %d was not cut by the sync", i)
		}
	}
	for i, f := range flows {
		select {
		case <-f.ended:
		case <-time.After(patience):
			t.Fatalf("the client of flow %d never learned that it was cut", i)
		}
	}
}

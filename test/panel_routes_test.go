package test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"strconv"
	"sync"
	"testing"

	"heki/panel/paneltest"
	"heki/test/harness"
)

// witness is a SOCKS5 server that notes where it is asked to connect. Every name leads to this machine, so
// that only who comes by it reaches a name that nobody knows.
type witness struct {
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	asked []string
}

func startWitness(t testing.TB) *witness {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(harness.Loopback, "0"))
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{listener: l}
	w.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			w.running.Go(func() { w.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		w.running.Wait()
	})
	return w
}

// outbound is how to come by w, in Xray's words.
func (w *witness) outbound(tag string) string {
	port := w.listener.Addr().(*net.TCPAddr).Port
	return fmt.Sprintf(`{"tag":%q,"protocol":"socks","settings":{"servers":[{"address":%q,"port":%d}]}}`, tag, harness.Loopback, port)
}

// serve is RFC 1928 for CONNECT without authentication.
func (w *witness) serve(conn net.Conn) {
	defer conn.Close()
	b := make([]byte, 256+4)
	if _, err := io.ReadFull(conn, b[:2]); err != nil {
		return
	}
	if _, err := io.ReadFull(conn, b[2:2+b[1]]); err != nil {
		return
	}
	if _, err := conn.Write([]byte{5, 0}); err != nil {
		return
	}
	if _, err := io.ReadFull(conn, b[:5]); err != nil || b[1] != 1 {
		return
	}
	host := ""
	switch b[3] {
	case 1:
		if _, err := io.ReadFull(conn, b[5:8]); err != nil {
			return
		}
		host = net.IP(b[4:8]).String()
	case 3:
		if _, err := io.ReadFull(conn, b[5:5+b[4]]); err != nil {
			return
		}
		host = string(b[5 : 5+b[4]])
	}
	if _, err := io.ReadFull(conn, b[:2]); err != nil {
		return
	}
	port := strconv.Itoa(int(binary.BigEndian.Uint16(b)))
	w.mu.Lock()
	w.asked = append(w.asked, net.JoinHostPort(host, port))
	w.mu.Unlock()
	remote, err := net.Dial("tcp", net.JoinHostPort(harness.Loopback, port))
	if err != nil {
		return
	}
	defer remote.Close()
	if _, err := conn.Write([]byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 0}); err != nil {
		return
	}
	w.running.Go(func() {
		io.Copy(remote, conn)
		remote.Close()
	})
	io.Copy(conn, remote)
}

// times is how often w was asked for destination.
func (w *witness) times(destination string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, asked := range w.asked {
		if asked == destination {
			n++
		}
	}
	return n
}

// fetch moves bytes to and from a target, and returns how many.
func fetch(t testing.TB, s harness.Socks, destination string, size int64) (moved paneltest.Traffic, err error) {
	t.Helper()
	conn, err := s.Dial(t.Context(), destination)
	if err != nil {
		return moved, err
	}
	defer conn.Close()
	command := fmt.Sprintf("source %d 1\n", size)
	if _, err := io.WriteString(conn, command); err != nil {
		return moved, err
	}
	n, err := io.Copy(io.Discard, conn)
	if err == nil && n != size {
		err = fmt.Errorf("%d of %d bytes came", n, size)
	}
	return paneltest.Traffic{Up: int64(len(command)), Down: n}, err
}

// TestPanelRoutes: a panel's routes send one domain through an outbound of the node, close another, and the
// rest goes by the node's default. Nodes have other outbounds under the same tags, and the books are exact.
func TestPanelRoutes(t *testing.T) {
	t.Parallel()
	text := func(s string) *string { return &s }
	for _, tt := range []struct {
		kind, name string
		version    int
		panel      func(token string) *paneltest.Panel
		routes     func(n *paneltest.Node, via, rest *witness)
	}{
		{"xiaov2board", "xiaov2board", 1, paneltest.NewXiaoV2board, xiaoRoutes},
		{"xiaov2board", "xiaov2board-2", 2, paneltest.NewXiaoV2board, xiaoRoutes},
		{"xboard", "xboard", 2, paneltest.New, func(n *paneltest.Node, via, rest *witness) {
			port := rest.listener.Addr().(*net.TCPAddr).Port
			n.CustomOutbounds = []json.RawMessage{
				json.RawMessage(via.outbound("x")),
				json.RawMessage(fmt.Sprintf(`{"type":"socks","tag":"rest","server":%q,"server_port":%d}`, harness.Loopback, port)),
			}
			n.Routes = []paneltest.Route{
				{ID: 1, Match: []string{"domain:via.test"}, Action: "proxy", ActionValue: text("x")},
				{ID: 2, Match: []string{"domain:blocked.test"}, Action: "block"},
			}
			n.CustomRoutes = []json.RawMessage{json.RawMessage(`{"type":"field","network":"tcp,udp","outboundTag":"rest"}`)}
		}},
	} {
		harness.Cell(t, tt.name, func(t testing.TB) {
			f := newFleet(t, tt.panel("the token of the test"), harness.JSON{"type": tt.kind, "api_version": tt.version})
			var via, rest []*witness
			for _, protocol := range []string{"vmess", "vless"} {
				v, r := startWitness(t), startWitness(t)
				via, rest = append(via, v), append(rest, r)
				f.add(t, harness.Road{Protocol: protocol}, func(n *paneltest.Node, _ *harness.Lane, _ paneltest.User) {
					tt.routes(n, v, r)
				})
			}
			f.checkRoutes(t, via, rest)
		})
	}
}

func xiaoRoutes(n *paneltest.Node, via, rest *witness) {
	x, last := via.outbound("x"), rest.outbound("rest")
	n.Routes = []paneltest.Route{
		{ID: 1, Match: []string{"domain:via.test"}, Action: "route", ActionValue: &x},
		{ID: 2, Match: []string{"domain:blocked.test"}, Action: "block"},
		{ID: 3, Match: []string{}, Action: "default_out", ActionValue: &last},
	}
}

// checkRoutes goes to each kind of name by each lane. The witnesses stand in the order of the nodes.
func (f *fleet) checkRoutes(t testing.TB, via, rest []*witness) {
	targets := harness.StartTargets(t)
	_, port, err := net.SplitHostPort(targets.TCP)
	if err != nil {
		t.Fatal(err)
	}
	p, clients := f.start(t)
	want := make(map[int]map[int]paneltest.Traffic)
	for i, b := range f.bills {
		socks := clients[b.client].Socks(b.lane)
		of := func(name string) string { return net.JoinHostPort(fmt.Sprintf("n%d.%s", i, name), port) }
		if want[b.node] == nil {
			want[b.node] = make(map[int]paneltest.Traffic)
		}
		for dst, w := range map[string]*witness{of("via.test"): via[b.node-1], of("other.test"): rest[b.node-1]} {
			moved, err := fetch(t, socks, dst, int64(100_000+i))
			if err != nil || w.times(dst) != 1 {
				t.Fatalf("%s to %s: %v; %d times by its outbound\n%s", b.lane, dst, err, w.times(dst), p.Log())
			}
			sum := want[b.node][b.user]
			want[b.node][b.user] = paneltest.Traffic{Up: sum.Up + moved.Up, Down: sum.Down + moved.Down}
		}
		blocked := of("blocked.test")
		if moved, err := fetch(t, socks, blocked, 10); err == nil || moved.Down > 0 || via[b.node-1].times(blocked)+rest[b.node-1].times(blocked) > 0 {
			t.Errorf("%s reached %s", b.lane, blocked)
		}
	}
	if t.Failed() {
		return
	}
	p.Stop()
	for node, users := range want {
		if got := f.panel.TrafficOf(node); !maps.Equal(got, users) {
			harness.Unforgivable(t)
			t.Errorf("node %d: the panel was told %v, want %v", node, got, users)
		}
	}
}

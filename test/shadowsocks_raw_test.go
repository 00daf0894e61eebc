package test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"heki/panel/paneltest"
	"heki/test/harness"
)

// ssRawMethods are one of each kind.
func ssRawMethods() []string {
	return []string{"aes-128-gcm", "chacha20-ietf-poly1305", "2022-blake3-aes-128-gcm", "2022-blake3-aes-256-gcm", "2022-blake3-chacha20-poly1305"}
}

// ssGate is a Shadowsocks server on one port and a client in parts.
type ssGate struct {
	road    harness.Road
	server  string
	targets *harness.Targets
}

func newSSGate(t *testing.T, method string) ssGate {
	t.Helper()
	port := harness.FreePort(t)
	road := harness.Road{Protocol: "shadowsocks", Method: method, Single: method == "2022-blake3-chacha20-poly1305"}
	in := road.Inbound(port, nil, harness.Users())
	in["handshake_timeout"] = "2s"
	harness.StartServer(t, in)
	return ssGate{road: road, server: harness.Address(port), targets: harness.StartTargets(t)}
}

// raw is a client of the first user after edit.
func (g ssGate) raw(t *testing.T, edit func(*harness.RawShadowsocks)) *harness.RawShadowsocks {
	t.Helper()
	r := &harness.RawShadowsocks{Road: g.road, User: harness.Users()[0]}
	if edit != nil {
		edit(r)
	}
	r.Init(t)
	return r
}

// request asks the echo target for text.
func (g ssGate) request(t *testing.T, r *harness.RawShadowsocks, text string) []byte {
	t.Helper()
	b, err := r.Request(g.targets.TCP, fmt.Appendf(nil, "echo %d\n%s", mrand.Uint64(), text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// served sends a first flight and its end, and says whether anything came back.
func (g ssGate) served(t *testing.T, flight []byte) bool {
	t.Helper()
	answer, closed, err := harness.Raw{Road: g.road, Server: g.server}.Probe(flight, true, patience)
	if err != nil || !closed {
		t.Fatalf("closed %t, %v", closed, err)
	}
	return len(answer) > 0
}

func changed(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

func garbage(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// TestShadowsocksReplay sends requests again, as somebody on the way could who has copied them, and
// what is no request. All of it gets silence.
func TestShadowsocksReplay(t *testing.T) {
	t.Parallel()
	for _, method := range ssRawMethods() {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			g := newSSGate(t, method)
			r := g.raw(t, nil)
			first, second := g.request(t, r, "hello"), g.request(t, r, "hello")
			if !g.served(t, first) {
				t.Fatal("a user is refused")
			}
			bad := map[string][]byte{
				"replayed": first, "garbage": garbage(500), "http": []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
				"changed salt": changed(second, 0), "changed header": changed(second, r.Salt()+20), "changed end": changed(second, len(second)-1),
				"stranger": g.request(t, g.raw(t, func(r *harness.RawShadowsocks) { r.User = harness.Stranger() }), "hello"),
			}
			for _, n := range []int{1, r.Salt() - 1, r.Salt(), r.Salt() + 17, r.Salt() + 18, len(second) - 1} {
				bad[fmt.Sprint("cut to ", n)] = second[:n]
			}
			if g.road.ServerKey() != "" && !g.road.Single {
				bad["wrong identity"] = changed(second, r.Salt()+3)
				bad["of another server"] = g.request(t, g.raw(t, func(r *harness.RawShadowsocks) { r.WrongServer = true }), "hello")
			}
			for name, flight := range bad {
				t.Run(name, func(t *testing.T) {
					if g.served(t, flight) {
						t.Error("answered")
					}
				})
			}
			if !g.served(t, g.request(t, r, "again")) {
				t.Error("the user is refused after all that")
			}
		})
	}
}

// TestShadowsocksClock lets clients of 2022 come whose clocks are off.
func TestShadowsocksClock(t *testing.T) {
	t.Parallel()
	for _, method := range ssRawMethods()[2:] {
		g := newSSGate(t, method)
		for _, c := range []struct {
			ahead  time.Duration
			served bool
		}{
			{0, true},
			{15 * time.Second, true}, // the limit is 30 s; inbound/shadowsocks has the second
			{-15 * time.Second, true},
			{45 * time.Second, false},
			{-45 * time.Second, false},
			{time.Hour, false},
		} {
			t.Run(fmt.Sprintf("%s/%s", method, c.ahead), func(t *testing.T) {
				t.Parallel()
				r := g.raw(t, func(r *harness.RawShadowsocks) { r.Ahead = c.ahead })
				if served := g.served(t, g.request(t, r, "hello")); served != c.served {
					t.Errorf("served: %t, want %t", served, c.served)
				}
				late := r.Datagram(g.targets.UDP[0], []byte("off"))
				g.checkDatagrams(t, c.served, late)
			})
		}
	}
}

// TestShadowsocksDatagrams sends datagrams again and what is none. All of it gets silence.
func TestShadowsocksDatagrams(t *testing.T) {
	t.Parallel()
	for _, method := range ssRawMethods() {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			g := newSSGate(t, method)
			r, to := g.raw(t, nil), g.targets.UDP[0]
			first, second := r.Datagram(to, []byte("first")), r.Datagram(to, []byte("second"))
			g.checkDatagrams(t, true, first)
			bad := [][]byte{
				first,
				{},
				garbage(1), garbage(60), garbage(1400), changed(second, 0), changed(second, 20), changed(second, len(second)-1),
				g.raw(t, func(r *harness.RawShadowsocks) { r.User = harness.Stranger() }).Datagram(to, []byte("stranger")),
			}
			for n := 1; n < len(second); n += 5 {
				bad = append(bad, second[:n])
			}
			if g.road.ServerKey() != "" && !g.road.Single {
				bad = append(bad, g.raw(t, func(r *harness.RawShadowsocks) { r.WrongServer = true }).Datagram(to, []byte("wrong identity")))
			}
			g.checkDatagrams(t, false, bad...)
		})
	}
}

// checkDatagrams sends datagrams from a new port, then those of a user, and wants answers to the latter
// alone, unless the others are to be answered too.
func (g ssGate) checkDatagrams(t *testing.T, served bool, others ...[]byte) {
	t.Helper()
	conn, err := net.Dial("udp", g.server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, d := range others {
		if _, err := conn.Write(d); err != nil {
			t.Fatal(err)
		}
	}
	r, got := g.raw(t, nil), make([]byte, 2000)
	strange, ended := 0, false
	for try := 0; try < 20 && (!ended || served && strange == 0); try++ {
		end := fmt.Appendf(nil, "end %d", try)
		if _, err := conn.Write(r.Datagram(g.targets.UDP[0], end)); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(time.Second))
		for {
			n, err := conn.Read(got)
			if err != nil {
				break // lost: the next try
			}
			if answer, err := r.Answer(got[:n]); err == nil && bytes.HasPrefix(answer, []byte("end ")) {
				ended = true
				break
			}
			strange++
		}
	}
	if !ended || strange > 0 != served {
		t.Errorf("%d of %d are answered; the user after them: %t", strange, len(others), ended)
	}
}

// TestShadowsocksNetwork listens on one of TCP and UDP alone.
func TestShadowsocksNetwork(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"aes-128-gcm", "2022-blake3-aes-128-gcm"} {
		for _, network := range []string{"tcp", "udp"} {
			t.Run(method+"/"+network, func(t *testing.T) {
				t.Parallel()
				port := harness.FreePort(t)
				road := harness.Road{Protocol: "shadowsocks", Method: method}
				in := road.Inbound(port, nil, harness.Users())
				in["network"] = network
				harness.StartServer(t, in)
				// What it does not listen on is anybody's.
				if network == "tcp" {
					other, err := net.ListenPacket("udp", harness.Address(port))
					if err != nil {
						t.Fatal(err)
					}
					other.Close()
					g := ssGate{road: road, server: harness.Address(port), targets: harness.StartTargets(t)}
					if !g.served(t, g.request(t, g.raw(t, nil), "hello")) {
						t.Error("a user is refused")
					}
					return
				}
				other, err := net.Listen("tcp", harness.Address(port))
				if err != nil {
					t.Fatal(err)
				}
				other.Close()
				g := ssGate{road: road, server: harness.Address(port), targets: harness.StartTargets(t)}
				g.checkDatagrams(t, true, g.raw(t, nil).Datagram(g.targets.UDP[0], []byte("hello")))
			})
		}
	}
}

// TestShadowsocksBilledApart has two users at once on one port, each with a real client of another
// kind, over TCP and UDP, and wants the panel to be told exactly what each moved.
func TestShadowsocksBilledApart(t *testing.T) {
	t.Parallel()
	for name, road := range map[string]harness.Road{
		"aead": {Protocol: "shadowsocks", Method: "chacha20-ietf-poly1305"},
		"2022": {Protocol: "shadowsocks", Method: "2022-blake3-aes-128-gcm", PanelKeys: true},
	} {
		harness.Cell(t, name, func(t testing.TB) {
			s := newSite(t, road, 2, nil)
			p := s.start(t)
			users := s.panel.Users()
			kinds := []string{harness.SingBox, harness.Mihomo}
			want := make([]paneltest.Traffic, len(users))
			var wg sync.WaitGroup
			for i, u := range users {
				lane := harness.Lane{Name: "user", User: account(u)}
				socks := harness.StartClient(t, kinds[i], road, s.port, s.cert, lane).Socks(lane.Name)
				wg.Go(func() {
					harness.Part(t, kinds[i], func(t testing.TB) {
						for round := range int64(3) {
							up, down := harness.Bill(t, socks, s.targets, (4-round)<<20+int64(i))
							want[i].Up += up
							want[i].Down += down
						}
					})
				})
			}
			wg.Wait()
			books := make(map[int]paneltest.Traffic)
			for i, u := range users {
				books[u.ID] = want[i]
			}
			s.billed(t, "after reports", books)
			for _, u := range users {
				eventually(t, "the address", func() bool { return slices.Equal(s.panel.Alive(nodeID, u.ID), []string{harness.Loopback}) })
			}
			p.Stop()
			s.billed(t, "after the final report", books)
		})
	}
}

package test

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"heki/panel/paneltest"
	"heki/test/harness"
)

// nameServer knows one name.
type nameServer struct {
	address string
	asked   atomic.Int32 // for the name it knows
}

func startNameServer(t testing.TB, name string, addr netip.Addr) *nameServer {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(harness.Loopback)})
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{address: conn.LocalAddr().String()}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 1<<12)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if answer := s.answer(b[:n], name, addr); answer != nil {
				conn.WriteToUDPAddrPort(answer, from)
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-ended
	})
	return s
}

// answer is RFC 1035 §4.1 for one question: the address, nothing for IPv6, NXDOMAIN for other names.
func (s *nameServer) answer(q []byte, name string, addr netip.Addr) []byte {
	var labels []string
	end := 12
	for end < len(q) && q[end] != 0 {
		next := end + 1 + int(q[end])
		if next >= len(q) {
			return nil
		}
		labels = append(labels, string(q[end+1:next]))
		end = next
	}
	if end+5 > len(q) {
		return nil
	}
	kind := binary.BigEndian.Uint16(q[end+1:])
	out := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end+5]...)
	if !strings.EqualFold(strings.Join(labels, "."), name) {
		out[3] |= 3
		return out
	}
	s.asked.Add(1)
	if kind == 1 {
		out[7] = 1
		out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
		out = append(out, addr.AsSlice()...)
	}
	return out
}

// TestNodeDNS: a panel's dns routes rule the names of its node alone. The name of the test is known to
// nobody but their server.
func TestNodeDNS(t *testing.T) {
	t.Parallel()
	const name = "only.node.test"
	for kind, panel := range map[string]func() *paneltest.Panel{
		"xboard":      func() *paneltest.Panel { return paneltest.New("the token of the test") },
		"xiaov2board": func() *paneltest.Panel { return paneltest.NewXiaoV2board("the token of the test") },
		"v2board":     func() *paneltest.Panel { return paneltest.NewV2board("the token of the test") },
	} {
		harness.Cell(t, kind, func(t testing.TB) {
			server := startNameServer(t, name, netip.MustParseAddr(harness.Loopback))
			f := newFleet(t, panel(), harness.JSON{"type": kind})
			road := harness.Road{Protocol: "vmess"}
			wants := []bool{true, false, true, false}
			for _, routes := range [][]paneltest.Route{
				{{ID: 1, Match: []string{"domain:node.test"}, Action: "dns", ActionValue: &server.address}},
				nil,
				{{ID: 2, Match: []string{}, Action: "dns", ActionValue: &server.address}},
				{{ID: 3, Match: []string{"full:other.node.test"}, Action: "dns", ActionValue: &server.address}},
			} {
				f.add(t, road, func(n *paneltest.Node, _ *harness.Lane, _ paneltest.User) { n.Routes = routes })
			}
			targets := harness.StartTargets(t)
			_, port, err := net.SplitHostPort(targets.Banner)
			if err != nil {
				t.Fatal(err)
			}
			p, clients := f.start(t)
			for _, b := range f.bills {
				before := server.asked.Load()
				got, err := banner(t, clients[b.client].Socks(b.lane), net.JoinHostPort(name, port))
				if reached := got == harness.Banner; reached != wants[b.node-1] {
					t.Errorf("%s: reached %v, %q, %v\n%s", b.lane, reached, got, err, p.Log())
				}
				if asked := server.asked.Load() != before; asked && !wants[b.node-1] {
					t.Errorf("%s asked a server of other nodes", b.lane)
				}
			}
			if server.asked.Load() == 0 {
				t.Error("the server was never asked")
			}
		})
	}
}

// banner is what the destination says first.
func banner(t testing.TB, s harness.Socks, destination string) (string, error) {
	t.Helper()
	conn, err := s.Dial(t.Context(), destination)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	b := make([]byte, len(harness.Banner))
	n, err := io.ReadFull(conn, b)
	return string(b[:n]), err
}

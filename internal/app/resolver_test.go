package app

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	codec "github.com/miekg/dns"
	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/dns"
	"heki/option"
	"heki/outbound"
	"heki/route"
	"heki/route/rule"
)

// nameServer answers every question about IPv4 with addr.
func nameServer(t *testing.T, addr string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started, ended := make(chan struct{}), make(chan error, 1)
	s := &codec.Server{PacketConn: conn, NotifyStartedFunc: func() { close(started) }, Handler: codec.HandlerFunc(func(w codec.ResponseWriter, q *codec.Msg) {
		m := new(codec.Msg)
		m.SetReply(q)
		if q.Question[0].Qtype == codec.TypeA {
			m.Answer = []codec.RR{&codec.A{Hdr: codec.RR_Header{Name: q.Question[0].Name, Rrtype: codec.TypeA, Class: codec.ClassINET, Ttl: 60}, A: net.ParseIP(addr)}}
		}
		_ = w.WriteMsg(m)
	})}
	go func() { ended <- s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		_ = s.Shutdown()
		<-ended
	})
	return conn.LocalAddr().String()
}

// greeters listen on one port of all the addresses, and say which it was to whoever connects.
func greeters(t *testing.T, ips ...string) (port uint16) {
	t.Helper()
	var open []net.Listener
	for range 20 { // the port may be taken on another address
		port = 0
		for _, l := range open {
			_ = l.Close()
		}
		open = nil
		for _, ip := range ips {
			l, err := net.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr(ip), port).String())
			if err != nil {
				break
			}
			open = append(open, l)
			port = l.Addr().(*net.TCPAddr).AddrPort().Port()
		}
		if len(open) == len(ips) {
			break
		}
	}
	if len(open) != len(ips) {
		t.Fatal("no port is free on all addresses")
	}
	var wg sync.WaitGroup
	for _, l := range open {
		wg.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Write([]byte(l.Addr().(*net.TCPAddr).IP.String() + "\n"))
				_ = conn.Close()
			}
		})
	}
	t.Cleanup(func() {
		for _, l := range open {
			_ = l.Close()
		}
		wg.Wait()
	})
	return port
}

func newResolver(t *testing.T, o option.DNS) *resolver {
	t.Helper()
	r := new(resolver)
	if err := r.replace(newDNS(t, o)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.client.Load().Close() })
	return r
}

func newDNS(t *testing.T, o option.DNS) *dns.Client {
	t.Helper()
	if err := o.Validate("dns"); err != nil {
		t.Fatal(err)
	}
	client, err := dns.New(o, compileHosts(nil), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func nodeRules(t *testing.T, server string, lines ...string) []dns.NodeRule {
	t.Helper()
	hosts, err := rule.CompileHosts(lines, nil)
	if err != nil {
		t.Fatal(err)
	}
	return []dns.NodeRule{{Match: hosts, Servers: []string{server}}}
}

// TestNodesResolveApart: connections of two nodes to one name go to two addresses, a reload included.
func TestNodesResolveApart(t *testing.T) {
	o := option.DNS{
		Servers: []option.DNSServer{{Tag: "file", Address: nameServer(t, "127.0.0.3")}, {Tag: "rule", Address: nameServer(t, "127.0.0.4")}},
		Rules:   []option.DNSRule{{Match: []string{"domain:rule.test"}, Servers: []string{"rule"}}},
		Final:   []string{"file"},
	}
	r := newResolver(t, o)
	log := slog.New(slog.DiscardHandler)
	set, err := outbound.NewSet(outboundTypes(), outbound.Env{Resolver: r, Log: log}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	router, err := route.New(option.Route{}, set, r, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	port := greeters(t, "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")
	for node, addr := range map[string]string{"panel/main/1": "127.0.0.1", "panel/main/2": "127.0.0.2"} {
		if err := r.SetNode(node, nodeRules(t, nameServer(t, addr), "domain:name.test")); err != nil {
			t.Fatal(err)
		}
	}
	reached := func(node, host string) string {
		client, server := net.Pipe()
		defer client.Close()
		done := make(chan error, 1)
		go func() {
			done <- router.RouteConn(t.Context(), server, &adapter.Metadata{
				Inbound: node, Network: "tcp", Source: netip.MustParseAddrPort("192.0.2.1:1"), Destination: M.Socksaddr{Fqdn: host, Port: port},
			})
		}()
		line, _, err := bufio.NewReader(client).ReadLine()
		_ = client.Close()
		if why := <-done; err != nil {
			return errors.Join(err, why).Error()
		}
		return string(line)
	}
	for _, reloaded := range []bool{false, true} {
		if reloaded {
			o.Cache.Size = 7
			if err := r.replace(newDNS(t, o)); err != nil {
				t.Fatal(err)
			}
		}
		for _, tt := range [][3]string{
			{"panel/main/1", "www.name.test", "127.0.0.1"},
			{"panel/main/2", "www.name.test", "127.0.0.2"},
			{"friends", "www.name.test", "127.0.0.3"},
			{"panel/main/1", "rule.test", "127.0.0.4"},
			{"panel/main/1", "other.test", "127.0.0.3"},
			{"panel/main/1", "www.name.test", "127.0.0.1"},
		} {
			if got := reached(tt[0], tt[1]); got != tt[2] {
				t.Errorf("reloaded %v: %s for %s reached %s, want %s", reloaded, tt[1], tt[0], got, tt[2])
			}
		}
	}
}

// TestReplaceUnderLoad runs under -race: a change of the settings fails no lookup.
func TestReplaceUnderLoad(t *testing.T) {
	o := option.DNS{Servers: []option.DNSServer{{Address: nameServer(t, "127.0.0.3")}}, Strategy: "ipv4_only"}
	r := newResolver(t, o)
	if err := r.SetNode("node", nodeRules(t, nameServer(t, "127.0.0.1"), "*")); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				got, err := r.Lookup(t.Context(), "node", "name.test")
				if err != nil || !slices.Equal(got, []netip.Addr{netip.MustParseAddr("127.0.0.1")}) {
					t.Errorf("got %v, %v", got, err)
					return
				}
			}
		})
	}
	for range 30 {
		if err := r.replace(newDNS(t, o)); err != nil {
			t.Error(err)
		}
	}
	cancel()
	wg.Wait()
	if err := r.SetNode("node", []dns.NodeRule{{Servers: []string{"dot://1.1.1.1"}}}); err == nil {
		t.Error("a bad address is taken")
	}
	if len(r.nodes["node"]) != 1 || r.nodes["node"][0].Match == nil {
		t.Error("the former rules are gone")
	}
}

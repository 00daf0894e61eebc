package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/dns"
	"heki/inbound"
	"heki/option"
	"heki/outbound"
	"heki/panel"
	"heki/route"
)

// errVia is what a fakeOutbound says when it is dialled.
type errVia string

func (e errVia) Error() string { return string(e) }

// fakeOutbound says who it is instead of connecting.
type fakeOutbound struct {
	tag, bind string
	closed    bool
}

func (f *fakeOutbound) Tag() string { return f.tag }
func (f *fakeOutbound) Close() error {
	f.closed = true
	return nil
}

func (f *fakeOutbound) Dial(context.Context, *adapter.Metadata) (net.Conn, error) {
	return nil, errVia(f.tag + "/" + f.bind)
}

func (f *fakeOutbound) ListenPacket(context.Context, *adapter.Metadata) (N.PacketConn, error) {
	return nil, errVia(f.tag)
}

// fakeHost is a host whose direct outbounds are fakes, in the order they were built.
func fakeHost(t *testing.T) (host, *[]*fakeOutbound) {
	t.Helper()
	built := new([]*fakeOutbound)
	types := outbound.NewRegistry()
	outbound.Register(types, "direct", func(_ outbound.Env, tag string, o *option.Direct) (adapter.Outbound, error) {
		if o.Bind == "nowhere" {
			return nil, errors.New("no such interface")
		}
		f := &fakeOutbound{tag: tag, bind: o.Bind}
		*built = append(*built, f)
		return f, nil
	})
	outbound.Register(types, "block", func(_ outbound.Env, tag string, _ *option.Block) (adapter.Outbound, error) {
		return &fakeOutbound{tag: tag}, nil
	})
	set, err := outbound.NewSet(types, outbound.Env{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	*built = nil
	var o option.DNS
	if err := o.Validate(""); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	r := new(resolver)
	client, err := dns.New(o, compileHosts(nil), log)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.replace(client); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	router, err := route.New(option.Route{}, set, r, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	own := newNodeOutbounds(outbound.Env{Resolver: r, Log: log})
	own.registry = types
	return host{inbound.NewManager(inbound.NewRegistry(), inbound.Env{Log: log}), router, r, own}, built
}

// via says how the node's connection to dst goes.
func (h host) via(t *testing.T, node, dst string) string {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	err := h.router.RouteConn(t.Context(), server, &adapter.Metadata{
		Inbound: node, Source: netip.MustParseAddrPort("192.0.2.1:1"), Destination: M.ParseSocksaddr(dst),
	})
	var way errVia
	if errors.As(err, &way) {
		return string(way)
	}
	return err.Error()
}

func own(tag, bind string) option.Outbound {
	return option.Outbound{Type: "direct", Tag: tag, Options: &option.Direct{Bind: bind}}
}

// TestSetRouting: nodes have outbounds of their own under one tag; what did not change is kept, what is gone is
// closed, and what cannot be built closes what it should have carried.
func TestSetRouting(t *testing.T) {
	h, built := fakeHost(t)
	rules := []panel.Rule{
		{ID: 1, Lines: []string{"domain:x.test"}, Outbound: "x"},
		{ID: 2, Lines: []string{"domain:block.test"}},
		{ID: 3, Lines: []string{"domain:direct.test"}, Outbound: "direct"},
	}
	for _, node := range []string{"a", "b"} {
		err := h.SetRouting(node, panel.Routing{Rules: rules, Outbounds: []option.Outbound{own("x", node), own("y", node)}, Default: &panel.Rule{ID: 4, Outbound: "y"}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range [][3]string{
		{"a", "x.test:1", "x/a"},
		{"b", "x.test:1", "x/b"},
		{"a", "direct.test:1", "direct/"},
		{"b", "other.test:1", "y/b"},
		{"a", "block.test:1", "denied by panel rule 2: domain:block.test"},
		{"c", "x.test:1", "direct/"},
	} {
		if got := h.via(t, tt[0], tt[1]); got != tt[2] {
			t.Errorf("node %s, %s: %s, want %s", tt[0], tt[1], got, tt[2])
		}
	}
	err := h.SetRouting("a", panel.Routing{Rules: rules, Outbounds: []option.Outbound{own("x", "a"), own("y", "other")}, Default: &panel.Rule{ID: 4, Outbound: "y"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(*built) != 5 || (*built)[0].closed || !(*built)[1].closed || (*built)[3].closed {
		t.Errorf("%d outbounds built, want one more than before; the unchanged one closed: %v; the changed one: %v", len(*built), (*built)[0].closed, (*built)[1].closed)
	}
	if got := h.via(t, "a", "other.test:1"); got != "y/other" {
		t.Errorf("the default of node a is %s", got)
	}
	if err := h.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if !(*built)[0].closed || (*built)[2].closed || h.via(t, "a", "x.test:1") != "direct/" {
		t.Error("something of the removed node is left, or of the other gone")
	}
	h.own.Close()
	for _, f := range *built {
		if !f.closed {
			t.Errorf("%s/%s is left open", f.tag, f.bind)
		}
	}
}

// TestSetRoutingBroken: nothing that cannot be followed leaves by another way, and all of it is named.
func TestSetRoutingBroken(t *testing.T) {
	h, _ := fakeHost(t)
	err := h.SetRouting("a", panel.Routing{
		Outbounds: []option.Outbound{own("x", "nowhere"), {Type: "carrier-pigeon", Tag: "p", Options: new(option.Direct)}},
		Rules: []panel.Rule{
			{ID: 1, Lines: []string{"domain:x.test"}, Outbound: "x"},
			{ID: 2, Lines: []string{"domain:unknown.test"}, Outbound: "unknown"},
			{ID: 3, Lines: []string{"domain:refused.test"}, Broken: "refused"},
			{ID: 4, Lines: []string{"regexp:(", "domain:half.test"}, Outbound: "direct"},
		},
		Default: &panel.Rule{ID: 5, Outbound: "p"},
		DNS: []panel.DNSRule{
			{ID: 6, Lines: []string{"domain:y.test", "port:1"}, Servers: []string{"192.0.2.1"}},
			{ID: 7, Servers: []string{"gopher://192.0.2.1"}},
		},
	})
	if err == nil {
		t.Fatal("nothing was reported")
	}
	for _, want := range []string{
		`route 1: outbound "x": no such interface; what it matches is closed`, `route 2: no outbound has the tag "unknown"`, "regexp",
		`route 5: outbound "p": type "carrier-pigeon" is not served`, "route 6: ", "port:1", `route 7: the server is "gopher://192.0.2.1"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("err lacks %q:\n%v", want, err)
		}
	}
	for dst, want := range map[string]string{
		"x.test:1":       "denied by panel rule 1: domain:x.test, which cannot be followed: ",
		"unknown.test:1": `no outbound "unknown"`, "refused.test:1": "cannot be followed: refused", "half.test:1": "direct/",
		"other.test:1": "denied by panel rule 5, which cannot be followed: ",
	} {
		if got := h.via(t, "a", dst); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", dst, got, want)
		}
	}
	if n := len(h.resolver.nodes["a"]); n != 1 {
		t.Errorf("%d DNS rules are in force, want the good one", n)
	}
	if err := h.SetRouting("a", panel.Routing{}); err != nil {
		t.Error(err)
	}
	if got := h.via(t, "a", "other.test:1"); got != "direct/" || h.resolver.nodes["a"] != nil {
		t.Errorf("something is left: %s, %v", got, h.resolver.nodes)
	}
}

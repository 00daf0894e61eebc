package rule

import (
	"context"
	"net"
	"testing"

	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/option"
)

// way is an outbound that is only compared.
type way struct{ tag string }

func (w *way) Tag() string                                             { return w.tag }
func (*way) Close() error                                              { return nil }
func (*way) Dial(context.Context, *adapter.Metadata) (net.Conn, error) { return nil, net.ErrClosed }
func (*way) ListenPacket(context.Context, *adapter.Metadata) (N.PacketConn, error) {
	return nil, net.ErrClosed
}

// TestPanelRoutes: the panel's order, conditions that hold together, a default of the node's own, and
// what cannot be routed is closed.
func TestPanelRoutes(t *testing.T) {
	own := &way{"own"}
	table := mustTable(t, option.Route{
		Whitelist: []string{"domain:white.org"},
		Rules:     []option.RouteTo{{Match: []string{"domain:config.org"}, Outbound: "config"}},
		Final:     "final",
	})
	table.SetPanel("in", []PanelRule{
		{ID: 1, Match: mustSet(t, "domain:a.org"), And: []*Set{mustSet(t, "port:443"), mustSet(t, "network:udp")}, Action: ActionBlock},
		{ID: 2, Match: mustSet(t, "domain:a.org", "domain:white.org"), Action: ActionRoute, Outbound: "own", Via: own},
		{ID: 3, Match: mustSet(t, "domain:b.org", "domain:broken.white.org"), Action: ActionBlock, Broken: "no such thing"},
		{ID: 4, Match: mustSet(t, "domain:b.org"), Action: ActionRoute, Outbound: "own", Via: own},
	}, &PanelRule{ID: 5, Action: ActionRoute, Outbound: "default", Via: own})
	table.SetPanel("broken", nil, &PanelRule{ID: 6, Action: ActionBlock, Broken: "protocol"})
	for _, tt := range []struct {
		name, dst, network, in string
		act                    Action
		out                    string
		via                    adapter.Outbound
		rule                   string
	}{
		{"all conditions", "a.org 443", "udp", "in", ActionBlock, "", nil, "panel rule 1: domain:a.org"},
		{"one of three is missing", "a.org 443", "tcp", "in", ActionRoute, "own", own, "panel rule 2: domain:a.org"},
		{"whitelisted is still routed", "x.white.org 443", "tcp", "in", ActionRoute, "own", own, "panel rule 2: domain:white.org"},
		{"broken", "b.org 80", "tcp", "in", ActionBlock, "", nil, "panel rule 3: domain:b.org, which cannot be followed: no such thing"},
		{"the configuration's rules before the node's default", "config.org 80", "tcp", "in", ActionRoute, "config", nil, "route.rules[0]: domain:config.org"},
		{"default", "c.org 80", "tcp", "in", ActionRoute, "default", own, "panel rule 5"},
		{"another node's default", "c.org 80", "tcp", "other", ActionRoute, "final", nil, "route.final"},
		{"broken default", "c.org 80", "tcp", "broken", ActionBlock, "", nil, "panel rule 6, which cannot be followed: protocol"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			md := to(tt.dst)
			md.Inbound, md.Network = tt.in, tt.network
			d := table.Decide(md)
			if d.Action != tt.act || d.Outbound != tt.out || d.Via != tt.via || d.Rule() != tt.rule {
				t.Errorf("got %d %q %v by %q", d.Action, d.Outbound, d.Via, d.Rule())
			}
			if n := testing.AllocsPerRun(10, func() { table.Decide(md) }); n != 0 {
				t.Errorf("allocates %v times", n)
			}
		})
	}
	table.SetPanel("broken", nil, nil)
	md := to("c.org 80")
	md.Inbound = "broken"
	if d := table.Decide(md); d.Outbound != "final" {
		t.Errorf("a removed default still decides: %+v", d)
	}
}

// TestBrokenRouteOfTheWhitelist: what is listed is not blocked, but it does not leave by another way either.
func TestBrokenRouteOfTheWhitelist(t *testing.T) {
	table := mustTable(t, option.Route{Whitelist: []string{"domain:white.org"}})
	table.SetPanel("in", []PanelRule{
		{ID: 1, Match: mustSet(t, "*"), Action: ActionBlock},
		{ID: 2, Match: mustSet(t, "domain:broken.white.org"), Action: ActionBlock, Broken: "x"},
	}, nil)
	for dst, blocked := range map[string]int64{"www.white.org 80": 0, "broken.white.org 80": 2, "other.org 80": 1} {
		md := to(dst)
		md.Inbound = "in"
		d, _ := table.Blocked(md)
		if d.PanelRule != blocked {
			t.Errorf("packets to %s are blocked by rule %d, want %d", dst, d.PanelRule, blocked)
		}
		if d = table.Decide(md); d.PanelRule != blocked {
			t.Errorf("%s is blocked by rule %d, want %d", dst, d.PanelRule, blocked)
		}
	}
}

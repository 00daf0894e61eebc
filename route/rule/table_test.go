package rule

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/option"
)

func mustTable(t *testing.T, o option.Route) *Table {
	t.Helper()
	table, err := NewTable(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func mustSet(t *testing.T, lines ...string) *Set {
	t.Helper()
	set, err := Compile(lines, nil)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestDecideOrder(t *testing.T) {
	table := mustTable(t, option.Route{
		Whitelist:        []string{"domain:good.example", "ip:10.9.9.9"},
		Audit:            []string{"# bad things", "example", "port:6881"},
		ForbidBitTorrent: true,
		ForbidPorts:      "25,465",
		ForbidPrivateIP:  true,
		Rules: []option.RouteTo{
			{Match: []string{"domain:netflix.com", "good"}, Outbound: "hk"},
			{Match: []string{"ip:9.9.9.0/24"}, Outbound: "dns"},
		},
		Final: "out",
	})
	table.SetPanel("panel/main/1", []PanelRule{
		{ID: 5, Match: mustSet(t, "badsite"), Action: ActionBlock},
		{ID: 6, Match: mustSet(t, "domain:direct.org"), Action: ActionDirect},
		{ID: 7, Match: mustSet(t, "domain:route.org"), Action: ActionRoute, Outbound: "panel-out"},
	}, nil)
	node := func(md *adapter.Metadata) *adapter.Metadata {
		md.Inbound = "panel/main/1"
		return md
	}
	sniff := func(md *adapter.Metadata, domain, protocol string) *adapter.Metadata {
		md.Domain, md.Protocol = domain, protocol
		return md
	}
	for _, tt := range []struct {
		name string
		md   *adapter.Metadata
		act  Action
		out  string
		by   Section
		rule string
	}{
		{"final", to("a.org 443"), ActionRoute, "out", ByFinal, "route.final"},
		{"rule", to("www.netflix.com 443"), ActionRoute, "hk", ByRules, "route.rules[0]: domain:netflix.com"},
		{"second rule", to("9.9.9.9 53"), ActionRoute, "dns", ByRules, "route.rules[1]: ip:9.9.9.0/24"},
		{"audit", to("bad.example 443"), ActionBlock, "", ByAudit, "route.audit[1]: example"},
		{"audit port", to("a.org 6881"), ActionBlock, "", ByAudit, "route.audit[2]: port:6881"},
		{"whitelist before audit, rules after", to("good.example 6881"), ActionRoute, "hk", ByRules, "route.rules[0]: good"},
		{"whitelist before forbid", to("10.9.9.9 25"), ActionRoute, "out", ByFinal, "route.final"},
		{"bittorrent", sniff(to("a.org 1"), "", "bittorrent"), ActionBlock, "", ByForbid, "route.forbid_bittorrent"},
		{"ports", to("a.org 465"), ActionBlock, "", ByForbid, "route.forbid_ports"},
		{"private", to("10.0.0.1 443"), ActionBlock, "", ByForbid, "route.forbid_private_ip"},
		{"sniffed whitelist", sniff(to("8.8.4.4 443"), "good.example", "tls"), ActionRoute, "hk", ByRules, "route.rules[0]: good"},
		{"sniffed whitelist opens no private address", sniff(to("127.0.0.1 443"), "good.example", "tls"), ActionBlock, "", ByForbid, "route.forbid_private_ip"},
		{"declared whitelist does", with(to("good.example 443"), func(md *adapter.Metadata) {
			md.Domain, md.Addresses = "good.example", []netip.Addr{netip.MustParseAddr("10.1.1.1")}
		}), ActionRoute, "hk", ByRules, "route.rules[0]: good"},
		{"panel block", node(to("www.badsite.org 443")), ActionBlock, "", ByPanel, "panel rule 5: badsite"},
		{"panel block of another node", to("www.badsite.org 443"), ActionRoute, "out", ByFinal, "route.final"},
		{"panel block, whitelisted", node(to("badsite.good.example 443")), ActionRoute, "hk", ByRules, "route.rules[0]: good"},
		{"panel direct", node(to("direct.org 443")), ActionDirect, "", ByPanel, "panel rule 6: domain:direct.org"},
		{"panel route", node(to("www.route.org 443")), ActionRoute, "panel-out", ByPanel, "panel rule 7: domain:route.org"},
		{"panel, none", node(to("www.netflix.com 443")), ActionRoute, "hk", ByRules, "route.rules[0]: domain:netflix.com"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := table.Decide(tt.md)
			if d.Action != tt.act || d.Outbound != tt.out || d.By != tt.by || d.Rule() != tt.rule {
				t.Errorf("got %d %q by %d %q, want %d %q by %d %q", d.Action, d.Outbound, d.By, d.Rule(), tt.act, tt.out, tt.by, tt.rule)
			}
			b, blocked := table.Blocked(tt.md)
			if blocked != (tt.act == ActionBlock) || blocked && b.Rule() != tt.rule {
				t.Errorf("blocked = %v by %q", blocked, b.Rule())
			}
		})
	}
	if got, want := table.Outbounds(), []string{"dns", "hk", "out"}; !slices.Equal(got, want) {
		t.Errorf("outbounds = %q, want %q", got, want)
	}
}

func TestDecideWithoutMatch(t *testing.T) {
	rules := []option.RouteTo{{Match: []string{"domain:a.org"}, Outbound: "a"}}
	for _, tt := range []struct {
		name string
		o    option.Route
		act  Action
		rule string
	}{
		{"no rules", option.Route{}, ActionDirect, "no rules"},
		{"rules, no final", option.Route{Rules: rules}, ActionBlock, "no rule matches and route.final is not set"},
		{"rules and final", option.Route{Rules: rules, Final: "b"}, ActionRoute, "route.final"},
		{"final", option.Route{Final: "b"}, ActionRoute, "route.final"},
	} {
		d := mustTable(t, tt.o).Decide(to("b.org 443"))
		if d.Action != tt.act || d.Rule() != tt.rule {
			t.Errorf("%s: %d %q, want %d %q", tt.name, d.Action, d.Rule(), tt.act, tt.rule)
		}
	}
	if (Decision{}).Action != ActionBlock {
		t.Error("the zero decision must block")
	}
}

func TestTableMistakes(t *testing.T) {
	_, err := NewTable(option.Route{
		Whitelist:   []string{"ok", "ip:x"},
		Audit:       []string{"a", "b", "c", "regexp:*.google.com"},
		ForbidPorts: "25,x",
		Rules: []option.RouteTo{
			{Match: []string{"a", "geosite:cn"}, Outbound: "o"},
			{Match: []string{"# nothing"}, Outbound: "o"},
		},
	}, nil)
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("err = %v, want joined errors", err)
	}
	want := []string{
		"route.whitelist[1]", "route.audit[3]", "route.forbid_ports", "route.rules[0].match[1]", "route.rules[1].match",
	}
	var got []string
	for _, e := range joined.Unwrap() {
		var m *option.Mistake
		if !errors.As(e, &m) {
			t.Fatalf("%v is not a mistake", e)
		}
		got = append(got, string(m.Path))
	}
	if !slices.Equal(got, want) {
		t.Errorf("paths = %q, want %q", got, want)
	}
	if text := `route.audit[3]: "regexp:*.google.com" is not a regular expression; did you mean domain:google.com?`; !strings.Contains(err.Error(), text) {
		t.Errorf("%q is not in\n%v", text, err)
	}
}

func TestNeedsOfTable(t *testing.T) {
	addr, domain := to("1.2.3.4 443"), to("a.org 443")
	quoted := &adapter.Metadata{Destination: M.Socksaddr{Fqdn: "1.2.3.4", Port: 1}}
	for _, tt := range []struct {
		name                              string
		o                                 option.Route
		sniffAddr, sniffDomain, addresses bool
	}{
		{"nothing", option.Route{}, false, false, false},
		{"domain", option.Route{Audit: []string{"x"}}, true, false, false},
		{"protocol", option.Route{Audit: []string{"protocol:tls"}}, true, true, false},
		{"bittorrent", option.Route{ForbidBitTorrent: true}, true, true, false},
		{"private", option.Route{ForbidPrivateIP: true}, false, false, true},
		{"ip", option.Route{Rules: []option.RouteTo{{Match: []string{"ip:1.1.1.1"}}}}, false, false, true},
		{"asked", option.Route{Sniff: []string{"tls"}}, true, true, false},
	} {
		table := mustTable(t, tt.o)
		if got := table.NeedsSniff(addr); got != tt.sniffAddr {
			t.Errorf("%s: sniff address = %v", tt.name, got)
		}
		if got := table.NeedsSniff(domain); got != tt.sniffDomain {
			t.Errorf("%s: sniff domain = %v", tt.name, got)
		}
		if got := table.NeedsAddresses(domain); got != tt.addresses {
			t.Errorf("%s: addresses = %v", tt.name, got)
		}
		if table.NeedsAddresses(addr) || table.NeedsAddresses(quoted) {
			t.Errorf("%s: an address needs no resolving", tt.name)
		}
	}
	table := mustTable(t, option.Route{})
	table.SetPanel("in", []PanelRule{{Match: mustSet(t, "protocol:tls", "x", "ip:1.1.1.1")}}, nil)
	if !table.NeedsSniff(addr) || !table.NeedsAddresses(domain) {
		t.Error("panel rules must be asked what they need")
	}
	next := mustTable(t, option.Route{})
	next.Adopt(table)
	if !next.NeedsSniff(addr) {
		t.Error("an adopted panel rule is gone")
	}
	table.SetPanel("in", nil, nil)
	if next.NeedsSniff(addr) {
		t.Error("a removed panel rule is still there")
	}
}

func TestPrivate(t *testing.T) {
	for _, tt := range []struct {
		addr string
		want bool
	}{
		{"8.8.8.8", false},
		{"1.1.1.1", false},
		{"223.255.255.255", false},
		{"2606:4700::1111", false},
		{"2a00:1450::1", false},
		{"64:ff9b::808:808", false},
		{"2002:808:808::1", false},
		{"0.0.0.0", true},
		{"10.1.2.3", true},
		{"100.64.0.1", true},
		{"127.0.0.1", true},
		{"169.254.169.254", true},
		{"172.31.255.255", true},
		{"192.168.1.1", true},
		{"224.0.0.1", true},
		{"255.255.255.255", true},
		{"::", true},
		{"::1", true},
		{"::ffff:127.0.0.1", true},
		{"::127.0.0.1", true},
		{"64:ff9b::a00:1", true},
		{"2002:7f00:1::", true},
		{"fd00::1", true},
		{"fe80::1%eth0", true},
		{"ff02::1", true},
	} {
		if got := isPrivate(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("%s private = %v, want %v", tt.addr, got, tt.want)
		}
	}
}

// TestPanelSwapIsWhole runs under -race: a decision sees one of two whole rule lists.
func TestPanelSwapIsWhole(t *testing.T) {
	table := mustTable(t, option.Route{})
	md := to("x.org 443")
	list := func(id int64, out string) []PanelRule {
		return []PanelRule{{ID: id, Action: ActionRoute, Outbound: out}}
	}
	table.SetPanel("in", list(1, "one"), nil)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for i := range 1000 {
			table.SetPanel("in", list(int64(i%2+1), []string{"one", "two"}[i%2]), nil)
			table.SetPanel("other", list(3, "three"), nil)
		}
		close(stop)
	})
	for done := false; !done; {
		select {
		case <-stop:
			done = true
		default:
		}
		d := table.Decide(md)
		if d.Outbound != map[int64]string{1: "one", 2: "two"}[d.PanelRule] {
			t.Fatalf("torn decision %+v", d)
		}
	}
	wg.Wait()
}

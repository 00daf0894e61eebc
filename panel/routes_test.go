package panel

import (
	"reflect"
	"strings"
	"testing"

	"heki/option"
)

const (
	nf     = `{"tag":"nf","protocol":"socks","settings":{"servers":[{"address":"1.2.3.4","port":1080}]}}`
	other  = `{"tag":"nf","protocol":"socks","settings":{"servers":[{"address":"5.6.7.8","port":1080}]}}`
	broken = `{"tag":"wg","protocol":"wireguard"}`
)

// TestRouting: the actions are those of reference/panels.md §4.3, §5.3 and §6.4.
func TestRouting(t *testing.T) {
	for _, tt := range []struct {
		name     string
		node     Node
		rules    []Rule
		final    *Rule
		dns      []DNSRule
		tags     string
		problems string
	}{
		{"block actions", Node{Routes: []Route{
			{ID: 1, Action: "block", Match: []string{"domain:example.com", " ", "regexp:.*ads.*", "protocol:bittorrent", "keyword:x"}},
			{ID: 2, Action: "block_ip", Match: []string{"1.2.3.0/24", "geoip:private", "ip:2001:db8::/32", "2001:db8::1"}},
			{ID: 3, Action: "block_port", Match: []string{"25", "1000-2000", "port:53"}},
			{ID: 4, Action: "protocol", Match: []string{"bittorrent"}},
			{ID: 5, Action: "block", Match: nil},
		}}, []Rule{
			{ID: 1, Lines: []string{"domain:example.com", "regexp:.*ads.*", "protocol:bittorrent", "x"}},
			{ID: 2, Lines: []string{"ip:1.2.3.0/24", "geoip:private", "ip:2001:db8::/32", "ip:2001:db8::1"}},
			{ID: 3, Lines: []string{"port:25", "port:1000-2000", "port:53"}},
			{ID: 4, Lines: []string{"protocol:bittorrent"}},
		}, nil, nil, "", ""},
		{"route, route_ip, default_out", Node{Routes: []Route{
			{ID: 5, Action: "route", Match: []string{"geosite:netflix", "full:a.org"}, Value: nf},
			{ID: 6, Action: "route_ip", Match: []string{"1.2.3.0/24", "geoip:cn"}, Value: nf},
			{ID: 7, Action: "route", Match: []string{"b.org"}, Value: other},
			{ID: 8, Action: "route", Match: []string{"c.org"}, Value: " hk "},
			{ID: 9, Action: "default_out", Match: []string{}, Value: `{"protocol":"freedom"}`},
		}}, []Rule{
			{ID: 5, Lines: []string{"geosite:netflix", "full:a.org"}, Outbound: "nf"},
			{ID: 6, Lines: []string{"ip:1.2.3.0/24", "geoip:cn"}, Outbound: "nf"},
			{ID: 7, Lines: []string{"b.org"}, Outbound: "nf-2"},
			{ID: 8, Lines: []string{"c.org"}, Outbound: "hk"},
		}, &Rule{ID: 9, Outbound: "route-9"}, nil, "nf nf-2 route-9", ""},
		{
			"what cannot be served",
			Node{Routes: []Route{
				{ID: 1, Action: "route", Match: []string{"a.org"}, Value: broken},
				{ID: 2, Action: "route", Match: []string{"b.org"}},
				{ID: 3, Action: "route", Match: nil, Value: nf},
				{ID: 4, Action: "default_out", Value: `{"protocol":`},
				{ID: 5, Action: "default_out", Value: nf},
				{ID: 6, Action: "dance", Match: []string{"x"}},
			}},
			[]Rule{
				{ID: 1, Lines: []string{"a.org"}, Broken: `outbound "wg": protocol is "wireguard", must be freedom, blackhole, socks, http, shadowsocks, trojan, vmess or vless`},
				{ID: 2, Lines: []string{"b.org"}, Broken: "action_value names no outbound"},
			},
			&Rule{ID: 4, Broken: `outbound "": is no object of JSON`}, nil, "",
			`route 1 (route): outbound "wg": protocol is "wireguard", must be freedom, blackhole, socks, http, shadowsocks, trojan, vmess or vless; what it matches is closed|` +
				`route 2 (route): action_value names no outbound; what it matches is closed|route 3 (route): has no match and is ignored|` +
				`route 4 (default_out): outbound "": is no object of JSON; what it matches is closed|route 5 (default_out): route 4 is one too, which is used|` +
				`route 6 (dance): not served by this version, ignored`,
		},
		{"dns", Node{Routes: []Route{
			{ID: 1, Action: "dns", Match: []string{"domain:netflix.com", "geosite:disney"}, Value: "1.1.1.1"},
			{ID: 2, Action: "dns", Match: []string{}, Value: "8.8.8.8, tls://1.1.1.1"},
			{ID: 3, Action: "dns", Match: []string{"x.org"}},
			{ID: 4, Action: "dns", Match: []string{"main", `{"servers":[]}`}, Value: "1.1.1.1"},
		}}, nil, nil, []DNSRule{
			{ID: 1, Lines: []string{"domain:netflix.com", "geosite:disney"}, Servers: []string{"1.1.1.1"}},
			{ID: 2, Servers: []string{"8.8.8.8", "tls://1.1.1.1"}},
		}, "", "route 3 (dns): action_value names no server; ignored|route 4 (dns): a whole DNS configuration is not served; write one route for each server; ignored"},
		{"XBoard", Node{
			CustomOutbounds: []string{nf, `[{"type":"direct","tag":"d"},` + broken + `]`, `{"protocol":"freedom"}`, other, `{`},
			Routes: []Route{
				{ID: 1, Action: "direct", Match: []string{"domain:a.org"}},
				{ID: 2, Action: "proxy", Match: []string{"domain:b.org"}, Value: "nf"},
				{ID: 3, Action: "proxy", Match: []string{"domain:c.org"}, Value: "of-the-configuration"},
				{ID: 4, Action: "proxy", Match: []string{"domain:d.org"}, Value: "wg"},
			},
			CustomRoutes: []string{
				`{"type":"field","domain":["domain:e.org"],"port":443,"outboundTag":"d"}`, `{"domain":"f.org","action":"reject"}`,
				`{"domain":"g.org","outbound":"wg"}`, `{"source_ip_cidr":["10.0.0.0/8"],"outbound":"d"}`, `[`,
			},
		}, []Rule{
			{ID: 1, Lines: []string{"domain:a.org"}, Outbound: "direct"},
			{ID: 2, Lines: []string{"domain:b.org"}, Outbound: "nf"},
			{ID: 3, Lines: []string{"domain:c.org"}, Outbound: "of-the-configuration"},
			{ID: 4, Lines: []string{"domain:d.org"}, Outbound: "wg", Broken: wireguard},
			{Lines: []string{"domain:e.org"}, And: [][]string{{"port:443"}}, Outbound: "d"},
			{Lines: []string{"full:f.org"}},
			{Lines: []string{"full:g.org"}, Outbound: "wg", Broken: wireguard},
		}, nil, nil, "nf d", `custom_outbounds[1] "wg": ` + wireguard + `|custom_outbounds[2]: has no tag, and no route can name it|` +
			`custom_outbounds[3]: "nf" is the tag of another one too, which is used|custom_outbounds[4]: is no object of JSON|` +
			`route 4 (proxy): ` + wireguard + `; what it matches is closed|custom_routes[2]: outbound "wg": ` + wireguard + `; what it matches is closed|` +
			`custom_routes[3]: a condition is required; source_ip_cidr is not served; ignored|custom_routes[4]: is no object of JSON`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, problems := tt.node.Routing()
			if !reflect.DeepEqual(r.Rules, tt.rules) {
				t.Errorf("rules are\n%+v, want\n%+v", r.Rules, tt.rules)
			}
			if !reflect.DeepEqual(r.Default, tt.final) || !reflect.DeepEqual(r.DNS, tt.dns) {
				t.Errorf("default %+v, dns %+v", r.Default, r.DNS)
			}
			var tags []string
			for _, out := range r.Outbounds {
				tags = append(tags, out.Tag)
			}
			if got := strings.Join(tags, " "); got != tt.tags {
				t.Errorf("outbounds are %s, want %s", got, tt.tags)
			}
			if got := strings.Join(problems, "|"); got != tt.problems {
				t.Errorf("problems are\n%s, want\n%s", got, tt.problems)
			}
			if again, _ := tt.node.Routing(); !reflect.DeepEqual(r, again) {
				t.Error("the same routes give another routing")
			}
		})
	}
}

const wireguard = `protocol is "wireguard", must be freedom, blackhole, socks, http, shadowsocks, trojan, vmess or vless`

// FuzzRouting: whatever a panel sends, a rule has lines, a default has none, what routes has a way or says
// why not, and outbounds are valid with tags of their own.
func FuzzRouting(f *testing.F) {
	for _, action := range []string{"block", "block_ip", "route", "route_ip", "default_out", "dns", "proxy", "direct", "x"} {
		f.Add(action, "domain:a.org", nf, broken, `{"port":1,"outboundTag":"nf"}`)
	}
	f.Fuzz(func(t *testing.T, action, match, value, custom, rule string) {
		n := Node{
			Routes:          []Route{{ID: 1, Action: action, Match: []string{match}, Value: value}, {ID: 2, Action: action, Match: []string{match}, Value: custom}},
			CustomOutbounds: []string{custom}, CustomRoutes: []string{rule},
		}
		r, _ := n.Routing()
		tags := make(map[string]bool)
		for _, out := range r.Outbounds {
			if out.Tag == "" || tags[out.Tag] || out.Options.Validate(option.Path("x")) != nil {
				t.Errorf("outbound %q of %+v", out.Tag, n)
			}
			tags[out.Tag] = true
		}
		for _, rule := range r.Rules {
			if len(rule.Lines) == 0 {
				t.Errorf("a rule without lines of %+v", n)
			}
		}
		if d := r.Default; d != nil && (len(d.Lines) > 0 || d.Outbound == "" && d.Broken == "") {
			t.Errorf("default %+v", d)
		}
	})
}

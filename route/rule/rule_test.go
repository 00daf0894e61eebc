package rule

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
)

// to makes metadata for a destination "host:port".
func to(dst string) *adapter.Metadata {
	host, port, _ := strings.Cut(dst, " ")
	md := &adapter.Metadata{Network: "tcp", Inbound: "in", Destination: M.ParseSocksaddrHostPortStr(host, port)}
	return md
}

func with(md *adapter.Metadata, change func(*adapter.Metadata)) *adapter.Metadata {
	change(md)
	return md
}

func TestMatch(t *testing.T) {
	alice := &adapter.User{Account: adapter.Account{ID: 7, Name: "alice"}}
	static := &adapter.User{Account: adapter.Account{Name: "bob"}}
	sniffed := func(domain, protocol string) func(*adapter.Metadata) {
		return func(md *adapter.Metadata) { md.Domain, md.Protocol = domain, protocol }
	}
	for _, tt := range []struct {
		line string
		md   *adapter.Metadata
		want bool
	}{
		{"goog", to("www.google.com 443"), true},
		{"GOOG", to("www.google.com 443"), true},
		{"goog", to("WWW.GOOGLE.COM. 443"), true},
		{"goog", to("example.org 443"), false},
		{"8.8", to("8.8.8.8 53"), false}, // a keyword looks at domains only
		{"domain:google.com", to("google.com 443"), true},
		{"domain:google.com", to("WwW.Google.Com 443"), true},
		{"domain:google.com", to("www.google.com. 443"), true},
		{"domain:google.com", to("notgoogle.com 443"), false},
		{"domain:.google.com", to("a.b.google.com 443"), true},
		{"domain:com", to("google.com 443"), true},
		{"domain:www.google.com", to("google.com 443"), false},
		{"full:google.com", to("google.com 443"), true},
		{"full:google.com", to("www.google.com 443"), false},
		{`regexp:^ad[0-9]+\.example\.`, to("ad12.example.org 443"), true},
		{`regexp:^ad[0-9]+\.example\.`, to("AD12.EXAMPLE.ORG 443"), true},
		{`regexp:^Ad[0-9]+`, to("ad12.example.org 443"), true},
		{`regexp:^ad[0-9]+\.example\.`, to("ad.example.org 443"), false},
		{"regexp:(torrent|tracker)", to("open.tracker.cl 443"), true},
		{"regexp:.*", to("1.2.3.4 443"), false},
		{"domain:sni.example", with(to("1.2.3.4 443"), sniffed("sni.example", "tls")), true},
		{"domain:sni.example", with(to("other.example 443"), sniffed("SNI.example.", "tls")), true},
		{"domain:other.example", with(to("other.example 443"), sniffed("sni.example", "tls")), true},
		{"ip:1.2.3.4", to("1.2.3.4 443"), true},
		{"ip:1.2.3.4", to("1.2.3.5 443"), false},
		{"ip:1.2.0.0/16", to("1.2.3.5 443"), true},
		{"ip:1.2.3.4/16", to("1.2.9.9 443"), true},
		{"ip:::ffff:1.2.3.0/120", to("1.2.3.5 443"), true},
		{"ip:1.2.3.0/24", with(to("1.2.3.5 443"), func(md *adapter.Metadata) {
			md.Destination.Addr = netip.MustParseAddr("::ffff:1.2.3.5")
		}), true},
		{"ip:fe80::/10", with(to("1.2.3.5 443"), func(md *adapter.Metadata) {
			md.Destination.Addr = netip.MustParseAddr("fe80::1%eth0")
		}), true},
		{"ip:127.0.0.0/8", with(to("a.example 443"), func(md *adapter.Metadata) {
			md.Destination = M.Socksaddr{Fqdn: "127.0.0.1", Port: 443}
		}), true},
		{"ip:::1", with(to("a.example 443"), func(md *adapter.Metadata) {
			md.Destination = M.Socksaddr{Fqdn: "[::1]", Port: 443}
		}), true},
		{"ip:10.0.0.0/8", with(to("a.example 443"), func(md *adapter.Metadata) {
			md.Addresses = []netip.Addr{netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("::ffff:10.1.1.1")}
		}), true},
		{"ip:2001:db8::/32", to("2001:db8:1::1 443"), true},
		{"ip:0.0.0.0/0", to("2001:db8:1::1 443"), false},
		{"ip:::/0", to("1.1.1.1 443"), false},
		{"port:80,443,1000-2000", to("1.1.1.1 443"), true},
		{"port:80, 443, 1000-2000", to("1.1.1.1 1000"), true},
		{"port:80,443,1000-2000", to("1.1.1.1 2000"), true},
		{"port:80,443,1000-2000", to("1.1.1.1 2001"), false},
		{"port:1-65535", to("1.1.1.1 65535"), true},
		{"protocol:bittorrent", with(to("1.1.1.1 1"), sniffed("", "bittorrent")), true},
		{"protocol:TLS, http", with(to("1.1.1.1 1"), sniffed("", "http")), true},
		{"protocol:quic", with(to("1.1.1.1 1"), sniffed("", "tls")), false},
		{"network:tcp", to("1.1.1.1 1"), true},
		{"network:udp", to("1.1.1.1 1"), false},
		{"user:7", with(to("1.1.1.1 1"), func(md *adapter.Metadata) { md.User = alice }), true},
		{"user:alice", with(to("1.1.1.1 1"), func(md *adapter.Metadata) { md.User = alice }), true},
		{"user:8", with(to("1.1.1.1 1"), func(md *adapter.Metadata) { md.User = alice }), false},
		{"user:0", with(to("1.1.1.1 1"), func(md *adapter.Metadata) { md.User = static }), false},
		{"user:alice", to("1.1.1.1 1"), false},
		{"node:main:7", with(to("1.1.1.1 1"), func(md *adapter.Metadata) { md.Inbound = "panel/main/7" }), true},
		{"node:a:b:7", with(to("1.1.1.1 1"), func(md *adapter.Metadata) { md.Inbound = "panel/a:b/7" }), true},
		{"node:main:7", with(to("1.1.1.1 1"), func(md *adapter.Metadata) { md.Inbound = "panel/old/7" }), false},
		{"node_id:1,7", with(to("1.1.1.1 1"), func(md *adapter.Metadata) { md.Inbound = "panel/old/7" }), true},
		{"node_id:1,7", with(to("1.1.1.1 1"), func(md *adapter.Metadata) { md.Inbound = "panel/old/17" }), false},
		{"node_id:7", with(to("1.1.1.1 1"), func(md *adapter.Metadata) { md.Inbound = "x/7" }), false},
		{"node_id:7", with(to("1.1.1.1 1"), func(md *adapter.Metadata) { md.Inbound = "panel/7" }), false},
		{"inbound:in", to("1.1.1.1 1"), true},
		{"inbound:out", to("1.1.1.1 1"), false},
		{"*", to("1.1.1.1 1"), true},
		{"# *", to("1.1.1.1 1"), false},
		{"   ", to("1.1.1.1 1"), false},
	} {
		t.Run(tt.line, func(t *testing.T) {
			set, err := Compile([]string{tt.line}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := set.Match(tt.md); got != tt.want {
				t.Errorf("match %+v = %v, want %v", tt.md.Destination, got, tt.want)
			}
			if _, got := set.MatchRule(tt.md); got != tt.want {
				t.Errorf("match rule = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestMatchRuleIsFirst(t *testing.T) {
	set, err := Compile([]string{
		"# comment", "", "regexp:^www\\.google", "ip:10.0.0.0/8", "goog", "google", "domain:google.com", "full:www.google.com",
		"ip:10.1.0.0/16", "port:443", "domain:com", "*",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		dst  string
		want int
	}{
		{"www.google.com 443", 2},
		{"mail.google.com 443", 4},
		{"10.1.2.3 443", 3},
		{"a.com 443", 9},
		{"a.com 80", 10},
		{"a.org 80", 11},
	} {
		if got, ok := set.MatchRule(to(tt.dst)); !ok || got != tt.want {
			t.Errorf("%s: line %d %v, want %d", tt.dst, got, ok, tt.want)
		}
	}
	if got := set.Line(4); got != "goog" {
		t.Errorf("line 4 = %q", got)
	}
}

func TestNeeds(t *testing.T) {
	for _, tt := range []struct {
		lines                []string
		domain, protocol, ip bool
		empty                bool
	}{
		{nil, false, false, false, true},
		{[]string{"# only"}, false, false, false, true},
		{[]string{"keyword"}, true, false, false, false},
		{[]string{"regexp:x"}, true, false, false, false},
		{[]string{"full:x"}, true, false, false, false},
		{[]string{"protocol:tls"}, false, true, false, false},
		{[]string{"ip:1.1.1.1"}, false, false, true, false},
		{[]string{"*"}, false, false, false, false},
		{[]string{"port:1"}, false, false, false, false},
		{[]string{"user:1"}, false, false, false, false},
		{[]string{"node_id:1"}, false, false, false, false},
	} {
		set, err := Compile(tt.lines, nil)
		if err != nil {
			t.Fatal(err)
		}
		if set.NeedsDomain() != tt.domain || set.NeedsProtocol() != tt.protocol || set.NeedsIP() != tt.ip || set.Empty() != tt.empty {
			t.Errorf("%q: domain %v protocol %v ip %v empty %v", tt.lines, set.NeedsDomain(), set.NeedsProtocol(), set.NeedsIP(), set.Empty())
		}
	}
	var none *Set
	if !none.Empty() || none.NeedsDomain() || none.NeedsIP() || none.NeedsProtocol() || none.Match(to("a.org 1")) {
		t.Error("a nil set must match and need nothing")
	}
}

func TestBadLines(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"regexp:*.google.com", "did you mean domain:google.com?"},
		{"regexp:+.google.com", "did you mean domain:google.com?"},
		{"regexp:(", "missing closing )"},
		{"regexp:a(?!b)c", "look-around"},
		{"regexp:", "nothing after regexp:"},
		{"domain:*.google.com", "did you mean domain:google.com?"},
		{"domain:https://google.com/a", "did you mean domain:google.com?"},
		{"domain:google.com:443", "did you mean domain:google.com?"},
		{"domain:1.2.3.4", "did you mean ip:1.2.3.4?"},
		{"domain:1.2.3.0/24", "did you mean ip:1.2.3.0/24?"},
		{"full:中国.cn", "xn--"},
		{"full:a..b", "must be 1 to 63"},
		{"domain:" + strings.Repeat("a.", 130) + "com", "must be 1 to 253"},
		{"ip:google.com", "did you mean domain:google.com?"},
		{"ip:1.2.3.4:80", "has a port; did you mean ip:1.2.3.4?"},
		{"ip:1.2.3.4,1.2.3.5", "one ip: line for each"},
		{"ip:1.2.3.0/33", "is not an address"},
		{"1.2.3.4", "did you mean ip:1.2.3.4?"},
		{"10.0.0.0/8", "did you mean ip:10.0.0.0/8?"},
		{"2001:db8::1", "did you mean ip:2001:db8::1?"},
		{"80,443", "did you mean port:80,443?"},
		{"*.google.com", "did you mean domain:google.com?"},
		{".*torrent.*", "did you mean regexp:.*torrent.*?"},
		{"https://google.com/", "did you mean domain:google.com?"},
		{"google.com:443", "did you mean domain:google.com?"},
		{"two words", "' '"},
		{"port:0", "from 1 to 65535"},
		{"port:70000", "from 1 to 65535"},
		{"port:20-10", "did you mean 10-20?"},
		{"port:80,,443", "not a port"},
		{"protocol:ssh", "must be one of tls, http"},
		{"network:icmp", "must be one of tcp, udp"},
		{"user:", "nothing after user:"},
		{"node:7", "node:main:7"},
		{"node:main:x", "node:main:7"},
		{"node_id:1,x", "node_id:1,2"},
		{"geosite:netflix", "no geo files are known"},
		{"geoip:cn", "no geo files are known"},
		{"geoip:!", "nothing after the !"},
		{"geoip:", "nothing after geoip:"},
		{"ports:80", "did you mean port:80?"},
		{"DOMAIN:a.org", "did you mean domain:a.org?"},
		{"domain_suffix:a.org", "did you mean domain:a.org?"},
		{"keyword:a", "write a"},
		{"whatever:a", "must be one of regexp"},
		{strings.Repeat("a", maxLine+1), "must be at most"},
	} {
		_, err := Compile([]string{"good", tt.line}, nil)
		var bad *LineError
		if !errors.As(err, &bad) {
			t.Errorf("%q: err = %v, want a LineError", tt.line, err)
			continue
		}
		if bad.Index != 1 || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: index %d, %q, want %q in it", clip(tt.line), bad.Index, err, tt.want)
		}
	}
}

func TestCompileReportsAllAndKeepsGood(t *testing.T) {
	set, err := Compile([]string{"regexp:(", "good.example", "ip:x", "port:0"}, nil)
	var bad Errors
	if !errors.As(err, &bad) || len(bad) != 3 || bad[0].Index != 0 || bad[1].Index != 2 || bad[2].Index != 3 {
		t.Fatalf("err = %v", err)
	}
	if i, ok := set.MatchRule(to("good.example 1")); !ok || i != 1 {
		t.Errorf("good line = %d %v", i, ok)
	}
}

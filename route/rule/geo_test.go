package rule

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"heki/adapter"
	"heki/option"
)

// lists is a Geo of tests.
type lists struct {
	sites map[string]*Domains
	areas map[string]*Addresses
}

func (l lists) Site(name string) (*Domains, error) {
	if list := l.sites[strings.ToLower(name)]; list != nil {
		return list, nil
	}
	return nil, errors.New("is not here")
}

func (l lists) IP(code string) (*Addresses, error) {
	if list := l.areas[strings.ToLower(code)]; list != nil {
		return list, nil
	}
	return nil, errors.New("is not here")
}

// newLists has a short and a long list of domains, and one of addresses.
func newLists(tb testing.TB) lists {
	tb.Helper()
	long := DomainEntries{Suffixes: []string{"Long.Test."}, Full: []string{"full.test"}}
	for i := range 2 * maxShort {
		long.Suffixes = append(long.Suffixes, fmt.Sprintf("site%d.test", i))
	}
	l := lists{
		sites: map[string]*Domains{"short": new(Domains), "long": new(Domains), "none": new(Domains)},
		areas: map[string]*Addresses{"cn": new(Addresses), "none": new(Addresses)},
	}
	err := l.sites["short"].Set(DomainEntries{
		Keywords: []string{"Word"}, Exprs: []string{`^a[0-9]+\.`, `^NO[0-9]`}, Suffixes: []string{"short.test"}, Full: []string{"full.test"},
	})
	if err := errors.Join(err, l.sites["long"].Set(long)); err != nil {
		tb.Fatal(err)
	}
	l.areas["cn"].Set([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:1::/48"), netip.MustParsePrefix("::ffff:198.51.100.0/120")})
	return l
}

func TestGeoLines(t *testing.T) {
	geo := newLists(t)
	for _, tt := range []struct {
		lines []string
		dst   string
		want  int // the first line that matches, or -1
	}{
		{[]string{"geosite:short"}, "short.test 1", 0},
		{[]string{"geosite: SHORT "}, "WWW.Short.Test. 1", 0},
		{[]string{"geosite:short"}, "xshort.test 1", -1},
		{[]string{"geosite:short"}, "www.full.test 1", -1},
		{[]string{"geosite:short"}, "a-word-b.org 1", 0},
		{[]string{"geosite:short"}, "A12.org 1", 0},
		{[]string{"geosite:short"}, "no1.org 1", 0},
		{[]string{"geosite:short"}, "192.0.2.1 1", -1},
		{[]string{"geosite:long"}, "www.long.test 1", 0},
		{[]string{"geosite:long"}, "LONG.TEST 1", 0},
		{[]string{"geosite:long"}, "full.test 1", 0},
		{[]string{"geosite:long"}, "www.full.test 1", -1},
		{[]string{"geosite:long"}, "a.site77.test 1", 0},
		{[]string{"geosite:long"}, "a.site77x.test 1", -1},
		{[]string{"geosite:long"}, "\xff.site77.test 1", -1},
		{[]string{"geosite:none", "geosite:long"}, "long.test 1", 1},
		{[]string{"geosite:long", "geosite:short"}, "full.test 1", 0},
		{[]string{"geosite:short", "geosite:long", "geosite:short"}, "full.test 1", 0},
		{[]string{"port:2", "geosite:long", "full:full.test"}, "full.test 1", 1},
		{[]string{"full:full.test", "geosite:long"}, "full.test 1", 0},
		{[]string{"geosite:long", "port:1"}, "x.test 1", 1},
		{[]string{"geoip:cn"}, "192.0.2.7 1", 0},
		{[]string{"geoip:CN"}, "198.51.100.7 1", 0},
		{[]string{"geoip:cn"}, "::ffff:192.0.2.7 1", 0},
		{[]string{"geoip:cn"}, "2001:db8:1::1 1", 0},
		{[]string{"geoip:cn"}, "192.0.3.0 1", -1},
		{[]string{"geoip:cn"}, "unresolved.test 1", -1},
		{[]string{"geoip:!cn"}, "192.0.3.0 1", 0},
		{[]string{"geoip:!cn"}, "192.0.2.0 1", -1},
		{[]string{"geoip:!cn"}, "unresolved.test 1", -1},
		{[]string{"geoip:none", "geoip:!none"}, "1.1.1.1 1", 1},
		{[]string{"geoip:private"}, "10.0.0.1 1", 0},
		{[]string{"geoip:PRIVATE"}, "fd00::1 1", 0},
		{[]string{"geoip:private"}, "1.1.1.1 1", -1},
		{[]string{"geoip:!private"}, "1.1.1.1 1", 0},
		{[]string{"geoip:!private"}, "127.0.0.1 1", -1},
		{[]string{"ip:192.0.2.0/25", "geoip:cn"}, "192.0.2.200 1", 1},
		{[]string{"geoip:cn", "ip:192.0.2.0/25"}, "192.0.2.1 1", 0},
	} {
		set, err := Compile(tt.lines, geo)
		if err != nil {
			t.Errorf("%q: %v", tt.lines, err)
			continue
		}
		md := to(tt.dst)
		got, ok := set.MatchRule(md)
		if !ok {
			got = -1
		}
		if got != tt.want || set.Match(md) != (tt.want >= 0) {
			t.Errorf("%q, %s: line %d, match %v, want %d", tt.lines, tt.dst, got, set.Match(md), tt.want)
		}
	}
}

func TestGeoNeeds(t *testing.T) {
	geo := newLists(t)
	for _, tt := range []struct {
		line       string
		domain, ip bool
	}{
		{"geosite:short", true, false},
		{"geosite:none", true, false}, // what a list holds may change
		{"geoip:cn", false, true},
		{"geoip:!cn", false, true},
		{"geoip:private", false, true},
	} {
		set, err := Compile([]string{tt.line}, geo)
		if err != nil || set.Empty() || set.NeedsDomain() != tt.domain || set.NeedsIP() != tt.ip {
			t.Errorf("%s: empty %v, domain %v, ip %v, %v", tt.line, set.Empty(), set.NeedsDomain(), set.NeedsIP(), err)
		}
		table, err := NewTable(option.Route{Rules: []option.RouteTo{{Match: []string{tt.line}, Outbound: "x"}}}, geo)
		if err != nil {
			t.Fatal(err)
		}
		if table.NeedsSniff(to("192.0.2.1 1")) != tt.domain || table.NeedsAddresses(to("a.test 1")) != tt.ip {
			t.Errorf("%s: sniff %v, resolve %v", tt.line, table.NeedsSniff(to("192.0.2.1 1")), table.NeedsAddresses(to("a.test 1")))
		}
	}
}

// TestGeoResolved: any address of a name counts, and a sniffed name beside the destination.
func TestGeoResolved(t *testing.T) {
	geo := newLists(t)
	set, err := Compile([]string{"geoip:cn", "geosite:long"}, geo)
	if err != nil {
		t.Fatal(err)
	}
	md := to("a.test 1")
	md.Addresses = []netip.Addr{netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("::ffff:192.0.2.1")}
	if line, ok := set.MatchRule(md); !ok || line != 0 {
		t.Errorf("resolved: %d, %v", line, ok)
	}
	md = to("1.1.1.1 1")
	md.Domain = "www.long.test"
	if line, ok := set.MatchRule(md); !ok || line != 1 {
		t.Errorf("sniffed: %d, %v", line, ok)
	}
}

// TestGeoReplaced: sets see what their lists hold now.
func TestGeoReplaced(t *testing.T) {
	geo := newLists(t)
	set, err := Compile([]string{"geosite:short", "geoip:cn"}, geo)
	if err != nil {
		t.Fatal(err)
	}
	if err := geo.sites["short"].Set(DomainEntries{Full: []string{"new.test"}}); err != nil {
		t.Fatal(err)
	}
	geo.areas["cn"].Set([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("ffff::/16")})
	for dst, want := range map[string]bool{
		"short.test 1": false, "new.test 1": true, "255.255.255.255 1": true, "::1 1": false, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 1": true, "fffe:ffff::1 1": false,
	} {
		if got := set.Match(to(dst)); got != want {
			t.Errorf("%s: %v", dst, got)
		}
	}
}

func TestGeoMistakes(t *testing.T) {
	geo := newLists(t)
	for line, want := range map[string]string{
		"geosite:": "nothing after geosite:", "geoip:": "nothing after geoip:", "geosite:x": "is not here", "geoip:x": "is not here",
		"geoip:!x": "is not here", "geosit:short": "did you mean geosite:short?", "GeoIP:cn": "did you mean geoip:cn?", "geoip:10.0.0.0/8": "did you mean ip:10.0.0.0/8?",
	} {
		set, err := Compile([]string{"good.test", line}, geo)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
		if !set.Match(to("good.test 1")) {
			t.Errorf("%s: the good line does not hold", line)
		}
	}
	_, err := NewTable(option.Route{Audit: []string{"a", "geosite:x"}}, geo)
	var mistake *option.Mistake
	if !errors.As(err, &mistake) || mistake.Path != "route.audit[1]" {
		t.Errorf("err = %v", err)
	}
}

// geoSubjects are those of the allocation test that ask lists; a long list makes a string.
func geoSubjects() map[string]*adapter.Metadata {
	return map[string]*adapter.Metadata{
		"short": to("www.google.com 1"), "address": to("192.0.3.1 1"), "address6": to("2001:db8:2::1 1"), "hit": to("a.short.test 1"),
	}
}

package rule

import (
	"fmt"
	"net/netip"
	"testing"

	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/option"
)

// mixedLines makes n lines as operators' lists have them: mostly domains, some of everything.
func mixedLines(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		switch i % 10 {
		case 0:
			lines[i] = fmt.Sprintf("full:host%d.example%d.net", i, i%97)
		case 1:
			lines[i] = fmt.Sprintf("ip:%d.%d.%d.0/24", 11+i%80, i/256%256, i%256)
		case 2:
			lines[i] = fmt.Sprintf("keyword%dx", i)
		case 3:
			if i < 1000 {
				lines[i] = fmt.Sprintf(`regexp:^(ads?|track)%d\.(evilcorp%d|badcorp)\.`, i, i)
				break
			}
			fallthrough
		default:
			lines[i] = fmt.Sprintf("domain:site%d.example%d.org", i, i%89)
		}
	}
	return lines
}

func subjects() map[string]*adapter.Metadata {
	return map[string]*adapter.Metadata{
		"miss":  {Destination: M.Socksaddr{Fqdn: "rr4---sn-4g5e6nzz.googlevideo.com", Port: 443}, Network: "tcp"},
		"upper": {Destination: M.Socksaddr{Fqdn: "WWW.GoogleVideo.COM.", Port: 443}, Network: "tcp"},
		"addr":  {Destination: M.Socksaddr{Addr: netip.MustParseAddr("142.250.1.1"), Port: 443}, Network: "tcp"},
		"both": {
			Destination: M.Socksaddr{Addr: netip.MustParseAddr("2a00:1450::1"), Port: 443}, Network: "tcp",
			Domain: "www.googlevideo.com", Addresses: []netip.Addr{netip.MustParseAddr("142.250.1.1")},
		},
		"hit": {Destination: M.Socksaddr{Fqdn: "a.site14.example14.org", Port: 443}, Network: "tcp"},
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{50, 500, 50_000} {
		set, err := Compile(mixedLines(n), nil)
		if err != nil {
			b.Fatal(err)
		}
		for name, md := range subjects() {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					set.Match(md)
				}
			})
		}
	}
}

func BenchmarkCompile50k(b *testing.B) {
	lines := mixedLines(50_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(lines, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func benchTable(tb testing.TB) *Table {
	tb.Helper()
	t, err := NewTable(option.Route{
		Whitelist: mixedLines(20), Audit: append(mixedLines(500), "regexp:[0-9]torrent"), ForbidBitTorrent: true,
		ForbidPorts: "25,465", ForbidPrivateIP: true,
		Rules: []option.RouteTo{
			{Match: []string{"domain:netflix.com", "ip:1.2.3.0/24"}, Outbound: "hk"},
			{Match: []string{"user:alice"}, Outbound: "direct"},
		},
		Final: "direct",
	}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func BenchmarkDecide(b *testing.B) {
	t := benchTable(b)
	for name, md := range subjects() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				t.Decide(md)
			}
		})
	}
}

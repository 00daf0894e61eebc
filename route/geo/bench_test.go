package geo

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"

	"heki/route/rule"
)

// many is a list as long as geosite:cn was at its longest.
func many(n int) []entry {
	r := rand.New(rand.NewPCG(7, 7))
	list := make([]entry, n)
	for i := range list {
		name := make([]byte, 4+r.IntN(12))
		for j := range name {
			name[j] = byte('a' + r.IntN(26))
		}
		list[i] = entry{2, fmt.Sprintf("%s.%s", name, []string{"com", "cn", "net", "com.cn", "org"}[r.IntN(5)]), nil}
	}
	return list
}

func manyNetworks(n int) []cidr {
	r := rand.New(rand.NewPCG(8, 8))
	list := make([]cidr, n)
	for i := range list {
		if i%4 == 0 {
			list[i] = cidr{append([]byte{0x24, byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}, make([]byte, 12)...), 32}
		} else {
			list[i] = cidr{[]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), 0}, 24}
		}
	}
	return list
}

// kept measures what load leaves behind.
func kept(b *testing.B, load func() any) {
	b.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	list := load()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(list)
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/1024, "KiB-kept")
}

// BenchmarkLoad reads one list of a file.
func BenchmarkLoad(b *testing.B) {
	dir := b.TempDir()
	write(b, filepath.Join(dir, siteName), siteFile([]string{"CN", "SHORT"}, many(67_000), many(30)))
	write(b, filepath.Join(dir, ipName), ipFile([]string{"CN"}, manyNetworks(12_000)))
	other := b.TempDir()
	write(b, filepath.Join(other, "Country.mmdb"), countryFile([]string{"CN", "US", "JP", "DE", "FR"}, 1<<16))
	for _, bench := range []struct{ name, dir, line string }{
		{"geosite-67000", dir, "geosite:cn"}, {"geosite-30", dir, "geosite:short"}, {"geoip-12000", dir, "geoip:cn"}, {"mmdb-65536", other, "geoip:cn"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			load := func() any {
				files, _ := newFiles(b, Places{Dir: bench.dir})
				return compile(b, files, bench.line)
			}
			for b.Loop() {
				load()
			}
			kept(b, load)
		})
	}
}

// BenchmarkMatch asks a compiled list.
func BenchmarkMatch(b *testing.B) {
	dir := b.TempDir()
	list := many(67_000)
	write(b, filepath.Join(dir, siteName), siteFile([]string{"CN", "SHORT"}, list, many(30)))
	write(b, filepath.Join(dir, ipName), ipFile([]string{"CN"}, manyNetworks(12_000)))
	files, _ := newFiles(b, Places{Dir: dir})
	for _, bench := range []struct{ line, dst string }{
		{"geosite:cn", "www." + list[5].value},
		{"geosite:cn", "rr4---sn-4g5e6nzz.googlevideo.com"},
		{"geosite:short", "rr4---sn-4g5e6nzz.googlevideo.com"},
		{"geoip:cn", "142.250.1.1"},
		{"geoip:cn", "[2a00:1450::1]"},
	} {
		set := compile(b, files, bench.line)
		md := to(bench.dst)
		b.Run(bench.line+"/"+bench.dst, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				set.Match(md)
			}
		})
	}
}

var _ rule.Geo = (*Files)(nil)

package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"heki/adapter"
)

var _ adapter.Resolver = (*Client)(nil)

func (c *cache) count() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.items)
		s.mu.Unlock()
	}
	return n
}

func TestCacheIsBounded(t *testing.T) {
	now := time.Now()
	for _, size := range []int{0, 1, 7, 8, 100, 4096} {
		c := newCache(size)
		for i := range 3*size + 3 {
			_, _ = c.land(key{name: fmt.Sprintf("a%d.example", i)}, entry{addrs: []netip.Addr{addr4}, ttl: time.Minute, keep: true}, now)
		}
		if n := c.count(); n > max(size, 1) || n < max(size/2, 1) {
			t.Errorf("size %d: %d names", size, n)
		}
	}
}

func TestCacheDropsTheOldest(t *testing.T) {
	c, now := newCache(3), time.Now()
	put := func(name string) {
		_, _ = c.land(key{name: name}, entry{addrs: []netip.Addr{addr4}, ttl: time.Minute, keep: true}, now)
	}
	has := func(name string) bool {
		_, fresh := c.get(key{name: name}, now)
		return fresh
	}
	put("a")
	put("b")
	put("c")
	has("a") // used
	put("d") // b goes
	if !has("a") || has("b") || !has("c") || !has("d") {
		t.Errorf("a %v b %v c %v d %v", has("a"), has("b"), has("c"), has("d"))
	}
	put("c") // no second item
	if n := c.count(); n != 3 {
		t.Errorf("%d names, want 3", n)
	}
}

// TestCacheUnderLoad runs under -race: names come, go and are asked for from all sides.
func TestCacheUnderLoad(t *testing.T) { synctest.Test(t, testCacheUnderLoad) }

func testCacheUnderLoad(t *testing.T) {
	f := &fake{handle: both(0)}
	c := newTest(t, "ipv4_first", f)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				mustLookup(t, c, fmt.Sprintf("a%d.example", (g*7+i)%90), addr4, addr6)
			}
		})
	}
	wg.Wait()
	mustClose(t, c)
	if n := c.cache.count(); n > 64 {
		t.Errorf("%d names in a cache of 64", n)
	}
}

func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"A.Example.", "a..b", "1.2.3.4", "0x7f.1", "xn--fiqs8s", "a_b.c", "::1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		name, err := normalise(in)
		if err != nil {
			if !errors.Is(err, ErrNoHost) {
				t.Errorf("%q: %v", in, err)
			}
			return
		}
		if again, err := normalise(name); err != nil || again != name {
			t.Errorf("%q became %q, and that %q, %v", in, name, again, err)
		}
		if _, err := netip.ParseAddr(name); err == nil {
			t.Errorf("%q is an address", name)
		}
	})
}

func BenchmarkHit(b *testing.B) {
	c := newTest(b, "ipv4_first", &fake{handle: both(time.Hour)})
	defer mustClose(b, c)
	names := make([]string, 32)
	for i := range names {
		names[i] = fmt.Sprintf("host%d.example", i)
		mustLookup(b, c, names[i], addr4, addr6)
	}
	ctx := b.Context()
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = c.Lookup(ctx, "", names[0])
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(p *testing.PB) {
			for i := 0; p.Next(); i++ {
				_, _ = c.Lookup(ctx, "", names[i%len(names)])
			}
		})
	})
}

func TestHitAllocs(t *testing.T) { synctest.Test(t, testHitAllocs) }

func testHitAllocs(t *testing.T) {
	f := &fake{handle: both(time.Hour)}
	c := newTest(t, "ipv4_first", f)
	defer mustClose(t, c)
	mustLookup(t, c, "a.example", addr4, addr6)
	if n := testing.AllocsPerRun(100, func() { _, _ = c.Lookup(t.Context(), "", "a.example.") }); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
}

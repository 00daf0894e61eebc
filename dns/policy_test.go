package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"heki/dns/upstream"
	"heki/option"
)

// under matches a domain and its subdomains.
type under string

func (u under) MatchHost(host string) bool {
	return host == string(u) || strings.HasSuffix(host, "."+string(u))
}

func compileUnder(at option.Path, lines []string) (Matcher, error) {
	if lines[0] == "bad" {
		return nil, at.Index(0).Errorf("is bad")
	}
	return under(lines[0]), nil
}

// here answers with addr for either family it is of, and counts.
func here(addr string) *fake {
	a := netip.MustParseAddr(addr)
	return &fake{handle: func(_ context.Context, _ string, ipv6 bool) (upstream.Answer, error) {
		if a.Is6() != ipv6 {
			return upstream.Answer{TTL: time.Hour}, nil
		}
		return upstream.Answer{Addrs: []netip.Addr{a}, TTL: time.Hour}, nil
	}}
}

// newPolicies is a client with servers called as the keys of fakes, "final" being the default and
// asked behind all others, and the addresses node://… of nodes.
func newPolicies(t testing.TB, fakes map[string]*fake, rules ...option.DNSRule) *Client {
	t.Helper()
	o := option.DNS{Strategy: "ipv4_first", Rules: rules, Cache: option.DNSCache{TTL: option.Duration(10 * time.Minute), Size: 64}}
	c := newClient(o, slog.New(slog.DiscardHandler))
	known := make(map[string]*server)
	for name, f := range fakes {
		known[name] = c.add(newServer(f, name, name, c.log), "")
	}
	c.finish([]*server{known["final"]})
	if err := c.addRules(o, known, compileUnder); err != nil {
		t.Fatal(err)
	}
	return c
}

// setNode is SetNode with servers of newPolicies, which have names in the place of addresses.
func setNode(t testing.TB, c *Client, tag string, rules ...NodeRule) {
	t.Helper()
	if err := c.install(tag, rules, c.pool.servers); err != nil {
		t.Fatal(err)
	}
}

func wantAddr(t testing.TB, c *Client, inbound, host, want string) {
	t.Helper()
	got, err := c.Lookup(t.Context(), inbound, host)
	if err != nil || len(got) != 1 || got[0].String() != want {
		t.Errorf("%s for %q = %v, %v, want %s", host, inbound, got, err, want)
	}
}

func TestPolicyOrder(t *testing.T) {
	fakes := map[string]*fake{
		"final": here("192.0.2.1"), "file": here("192.0.2.2"), "node": here("192.0.2.3"), "every": here("192.0.2.4"),
	}
	c := newPolicies(t, fakes, option.DNSRule{Match: []string{"file.example"}, Servers: []string{"file"}})
	defer mustClose(t, c)
	setNode(t, c, "a", NodeRule{under("node.example"), []string{"node"}}, NodeRule{under("x.file.example"), []string{"node"}}, NodeRule{nil, []string{"every"}})
	setNode(t, c, "b", NodeRule{under("node.example"), []string{"every"}})
	for range 2 { // from the servers, then from the cache
		for _, tt := range []struct{ inbound, host, want string }{
			{"a", "www.node.example", "192.0.2.3"},
			{"a", "x.file.example", "192.0.2.3"}, // the node's rules go first
			{"a", "file.example", "192.0.2.2"},   // before the node's servers for everything
			{"a", "other.example", "192.0.2.4"},
			{"b", "www.node.example", "192.0.2.4"},
			{"b", "x.file.example", "192.0.2.2"},
			{"b", "other.example", "192.0.2.1"},
			{"", "www.node.example", "192.0.2.1"},
			{"c", "FILE.example.", "192.0.2.2"},
		} {
			wantAddr(t, c, tt.inbound, tt.host, tt.want)
		}
	}
	c.RemoveNode("a")
	wantAddr(t, c, "a", "www.node.example", "192.0.2.1")
	wantAddr(t, c, "a", "other.example", "192.0.2.1")
}

// TestPolicyStandIn: what the rule's servers do not answer others do, and soon are not asked any more.
func TestPolicyStandIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakes := map[string]*fake{"final": here("192.0.2.1"), "file": {handle: failing}}
		c := newPolicies(t, fakes, option.DNSRule{Match: []string{"example"}, Servers: []string{"file"}})
		defer mustClose(t, c)
		wantAddr(t, c, "", "a.example", "192.0.2.1")
		fakes["file"].set(here("192.0.2.2").handle)
		time.Sleep(standInTTL - time.Second)
		wantAddr(t, c, "", "a.example", "192.0.2.1")
		time.Sleep(time.Second)
		wantAddr(t, c, "", "a.example", "192.0.2.2")
		fakes["file"].set(func(context.Context, string, bool) (upstream.Answer, error) {
			return upstream.Answer{NotFound: true}, nil
		})
		fakes["final"].count()
		if _, err := c.Lookup(t.Context(), "", "no.example"); !errors.Is(err, ErrNoHost) || fakes["final"].count() != 0 {
			t.Errorf("err = %v: that there is no such name is an answer", err)
		}
		// A rule's server that is down is asked last while it is, as others are.
		fakes["file"].set(silent)
		wantAddr(t, c, "", "b.example", "192.0.2.1")
		fakes["file"].count()
		begin := time.Now()
		wantAddr(t, c, "", "c.example", "192.0.2.1")
		if d := time.Since(begin); d != 0 || fakes["file"].count() != 0 {
			t.Errorf("took %s although the server was known to be silent", d)
		}
	})
}

func TestPolicyStrategy(t *testing.T) { synctest.Test(t, testPolicyStrategy) }

func testPolicyStrategy(t *testing.T) {
	const v4, v6 = "ipv4_only", "ipv6_first"
	for _, tt := range []struct {
		rule, server, all string
		want              []netip.Addr
	}{
		{"", "", v6, []netip.Addr{addr6, addr4}},
		{"", v4, v6, []netip.Addr{addr4}},
		{v6, v4, v4, []netip.Addr{addr6, addr4}},
		{"ipv6_only", "", v4, []netip.Addr{addr6}},
	} {
		o := option.DNS{
			Strategy: tt.all, Cache: option.DNSCache{TTL: option.Duration(time.Minute), Size: 64},
			Rules: []option.DNSRule{{Match: []string{"example"}, Servers: []string{"one"}, Strategy: tt.rule}},
		}
		c := newClient(o, slog.New(slog.DiscardHandler))
		known := map[string]*server{
			"one":  c.add(newServer(&fake{handle: both(time.Hour)}, "one", "one", c.log), tt.server),
			"last": c.add(newServer(&fake{handle: both(time.Hour)}, "last", "last", c.log), ""),
		}
		c.finish([]*server{known["last"]})
		if err := c.addRules(o, known, compileUnder); err != nil {
			t.Fatal(err)
		}
		mustLookup(t, c, "a.example", tt.want...)
		mustClose(t, c)
	}
	// A server's strategy rules what it answers, not what others do.
	c := newClient(option.DNS{Cache: option.DNSCache{TTL: option.Duration(time.Minute), Size: 64}}, slog.New(slog.DiscardHandler))
	defer mustClose(t, c)
	first := &fake{handle: both(time.Hour)}
	c.add(newServer(first, "one", "one", c.log), v4)
	c.add(newServer(&fake{handle: both(time.Hour)}, "two", "two", c.log), "")
	c.finish(c.own)
	mustLookup(t, c, "a.example", addr4)
	first.set(failing)
	mustLookup(t, c, "b.example", addr4, addr6)
}

func TestPolicyMistakes(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	servers := []option.DNSServer{{Tag: "a", Address: "8.8.8.8"}}
	_, err := New(option.DNS{Servers: servers, Rules: []option.DNSRule{
		{Match: []string{"x"}, Servers: []string{"a"}}, {Match: []string{"bad"}, Servers: []string{"a"}}, {Match: []string{"x"}, Servers: []string{"a", "b"}},
	}}, compileUnder, log)
	for _, want := range []string{"dns.rules[1].match[0]: is bad", `dns.rules[2].servers[1]: no server has the tag "b"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	c, err := New(option.DNS{Servers: servers, Cache: option.DNSCache{Size: 1}}, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetNode("n", []NodeRule{{nil, []string{"1.1.1.1"}}}); err != nil {
		t.Fatal(err)
	}
	err = c.SetNode("n", []NodeRule{{nil, []string{"dot://1.1.1.1"}}, {under("x"), []string{"8.8.4.4", ""}}, {under("y"), nil}})
	for _, want := range []string{`the server of dns rule 1 is "dot://1.1.1.1", must be`, "the server of dns rule 2 is required", "dns rule 3 names no server"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if c.choose("n", "x") == c.final || len(c.pool.servers) != 3 {
		t.Errorf("the former rules are gone, or %d servers are not 3", len(c.pool.servers))
	}
	mustClose(t, c)
	if err := c.SetNode("n", []NodeRule{{nil, []string{"1.1.1.1"}}}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
	c.RemoveNode("n")
}

// TestNodesShare: equal policies are one set, and an address is one server while a node or a lookup has it.
func TestNodesShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTest(t, "ipv4_only", &fake{handle: both(time.Hour)})
		defer mustClose(t, c)
		built := c.setFakes(map[string]*fake{"x": {handle: both(time.Hour)}, "y": {handle: both(time.Hour)}})
		x, y := built["x"].Server.(*fake), built["y"].Server.(*fake)
		node := func(tag string, addresses ...string) {
			if err := c.install(tag, []NodeRule{{nil, addresses}}, built); err != nil {
				t.Fatal(err)
			}
		}
		node("a", "x", "y")
		node("b", "x", "y")
		if c.choose("a", "n") != c.choose("b", "n") {
			t.Error("equal policies are two")
		}
		if _, err := c.Lookup(t.Context(), "a", "n.example"); err != nil {
			t.Error(err)
		}
		x.count()
		if _, err := c.Lookup(t.Context(), "b", "n.example"); err != nil || x.count() != 0 {
			t.Errorf("err = %v, or the answer was not shared", err)
		}
		node("a", "x")
		if x.closed.Load() || y.closed.Load() {
			t.Error("a server was closed that a node has")
		}
		c.RemoveNode("b")
		if x.closed.Load() || !y.closed.Load() {
			t.Errorf("x closed %v, y closed %v, want y alone", x.closed.Load(), y.closed.Load())
		}
		x.set(func(ctx context.Context, name string, ipv6 bool) (upstream.Answer, error) {
			time.Sleep(time.Second)
			return both(time.Hour)(ctx, name, ipv6)
		})
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := c.Lookup(t.Context(), "a", "slow.example"); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		c.RemoveNode("a")
		if x.closed.Load() {
			t.Error("closed under a lookup")
		}
		<-done
		synctest.Wait()
		if !x.closed.Load() || len(c.pool.servers) != 1 || len(c.pool.sets) != 1 {
			t.Errorf("after the lookup: closed %v, %d servers, %d sets, want the client's own alone", x.closed.Load(), len(c.pool.servers), len(c.pool.sets))
		}
	})
}

// setFakes makes servers that are not in use.
func (c *Client) setFakes(fakes map[string]*fake) map[string]*server {
	built := make(map[string]*server)
	for name, f := range fakes {
		built[name] = newServer(f, name, name, c.log)
	}
	return built
}

// TestPoliciesUnderLoad runs under -race: policies change while names are looked up, which never fails.
func TestPoliciesUnderLoad(t *testing.T) {
	f := &fake{handle: both(0)}
	c := newTest(t, "ipv4_only", f)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 300 {
				if _, err := c.Lookup(t.Context(), fmt.Sprint("node", g%2), fmt.Sprintf("a%d.example", i%7)); err != nil {
					t.Errorf("lookup: %v", err)
				}
			}
		})
	}
	for g := range 2 {
		wg.Go(func() {
			for i := range 200 {
				built := c.setFakes(map[string]*fake{"x": {handle: both(0)}, "y": {handle: both(0)}})
				if err := c.install(fmt.Sprint("node", g), []NodeRule{{nil, []string{"x", "y"}[:1+i%2]}}, built); err != nil {
					t.Error(err)
				}
			}
			c.RemoveNode(fmt.Sprint("node", g))
		})
	}
	wg.Wait()
	if len(c.pool.servers) != 1 || len(c.pool.sets) != 1 {
		t.Errorf("%d servers and %d sets are left, want 1 and 1", len(c.pool.servers), len(c.pool.sets))
	}
	mustClose(t, c)
}

func TestNodeHitAllocs(t *testing.T) {
	fakes := map[string]*fake{"final": here("192.0.2.1"), "node": here("192.0.2.3")}
	c := newPolicies(t, fakes)
	defer mustClose(t, c)
	setNode(t, c, "a", NodeRule{under("a.example"), []string{"node"}}, NodeRule{under("b.example"), []string{"node"}})
	wantAddr(t, c, "a", "b.example", "192.0.2.3")
	if n := testing.AllocsPerRun(100, func() { _, _ = c.Lookup(t.Context(), "a", "b.example.") }); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
}

func BenchmarkNodeHit(b *testing.B) {
	fakes := map[string]*fake{"final": here("192.0.2.1"), "node": here("192.0.2.3")}
	c := newPolicies(b, fakes)
	defer mustClose(b, c)
	for i := range 64 {
		setNode(b, c, fmt.Sprintf("panel/main/%d", i), NodeRule{under("a.example"), []string{"node"}}, NodeRule{under("b.example"), []string{"node"}})
	}
	wantAddr(b, c, "panel/main/7", "b.example", "192.0.2.3")
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = c.Lookup(ctx, "panel/main/7", "b.example")
	}
}

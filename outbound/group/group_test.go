package group

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"
	"go.uber.org/goleak"

	"heki/adapter"
	"heki/option"
	"heki/outbound"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is an outbound whose connections are pipes.
type fake struct {
	tag string

	mu    sync.Mutex
	fail  error
	dials int
	serve func(net.Conn) // of the other end; nil closes it
}

func (f *fake) Tag() string  { return f.tag }
func (f *fake) Close() error { return nil }

// set changes what becomes of the next connections.
func (f *fake) set(fail error, serve func(net.Conn)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail, f.serve = fail, serve
}

// count is how often it was asked.
func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dials
}

func (f *fake) Dial(context.Context, *adapter.Metadata) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials++
	if f.fail != nil {
		return nil, f.fail
	}
	near, far := net.Pipe()
	serve := f.serve
	go func() {
		if serve != nil {
			serve(far)
		}
		far.Close()
	}()
	return near, nil
}

func (f *fake) ListenPacket(context.Context, *adapter.Metadata) (N.PacketConn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dials++
	return nil, f.fail
}

// newGroup is a group of members fakes a, b, c …
func newGroup(t testing.TB, o option.Group, n int) (*Group, []*fake) {
	t.Helper()
	all := make(map[string]adapter.Outbound)
	var fakes []*fake
	for i := range n {
		f := &fake{tag: string(rune('a' + i))}
		fakes, all[f.tag] = append(fakes, f), f
		o.Outbounds = append(o.Outbounds, f.tag)
	}
	return join(t, o, slog.New(slog.DiscardHandler), all), fakes
}

func join(t testing.TB, o option.Group, log *slog.Logger, all map[string]adapter.Outbound) *Group {
	t.Helper()
	if err := o.Validate(""); err != nil {
		t.Fatal(err)
	}
	out, err := New(outbound.Env{Log: log}, "g", &o)
	if err != nil {
		t.Fatal(err)
	}
	g := out.(*Group)
	t.Cleanup(func() { g.Close() })
	if err := g.Join(func(tag string) adapter.Outbound { return all[tag] }); err != nil {
		t.Fatal(err)
	}
	return g
}

func user(name string) *adapter.Metadata {
	return &adapter.Metadata{User: &adapter.User{Account: adapter.Account{Name: name}}}
}

// dial makes one connection and returns the member that it leads through.
func dial(t testing.TB, g *Group, md *adapter.Metadata) string {
	t.Helper()
	c, err := g.Dial(t.Context(), md)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	tag, ok := strings.CutPrefix(md.Outbound, "g/")
	if !ok {
		t.Fatalf("the log says %q", md.Outbound)
	}
	return tag
}

func TestRandomIsEven(t *testing.T) {
	g, fakes := newGroup(t, option.Group{}, 4)
	const n = 4000
	for range n {
		c, err := g.Dial(t.Context(), user("u"))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	for _, f := range fakes { // eight standard deviations of 27
		if f.count() < n/4-220 || f.count() > n/4+220 {
			t.Errorf("%s was picked %d times of %d", f.tag, f.count(), n)
		}
	}
}

func TestRoundRobin(t *testing.T) {
	g, _ := newGroup(t, option.Group{Pick: option.PickRoundRobin}, 3)
	var got string
	for range 7 {
		got += dial(t, g, user("u"))
	}
	if got != "abcabca" {
		t.Errorf("the order is %s", got)
	}
}

func TestLeastConn(t *testing.T) {
	g, _ := newGroup(t, option.Group{Pick: option.PickLeastConn}, 3)
	open := make(map[string][]net.Conn)
	for range 9 {
		md := user("u")
		c, err := g.Dial(t.Context(), md)
		if err != nil {
			t.Fatal(err)
		}
		open[md.Outbound] = append(open[md.Outbound], c)
	}
	for tag, conns := range open {
		if len(conns) != 3 {
			t.Errorf("%s has %d connections of 9", tag, len(conns))
		}
	}
	for _, c := range open["g/b"][1:] {
		c.Close()
		c.Close() // counts once
	}
	for range 2 {
		if got := dial(t, g, user("u")); got != "b" {
			t.Errorf("%s is picked, b has fewest", got)
		}
	}
	for _, conns := range open {
		for _, c := range conns {
			c.Close()
		}
	}
}

// A key stays at its member, keys spread, and without a member only its own keys move.
func TestHash(t *testing.T) {
	for pick, of := range map[string]func(i int) *adapter.Metadata{
		option.PickUser: func(i int) *adapter.Metadata { return user(fmt.Sprint("user", i)) },
		option.PickSource: func(i int) *adapter.Metadata {
			return &adapter.Metadata{Source: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), uint16(i*7))}
		},
		option.PickDomain: func(i int) *adapter.Metadata {
			return &adapter.Metadata{Destination: M.Socksaddr{Fqdn: fmt.Sprint("www", i, ".example.org"), Port: uint16(i)}}
		},
	} {
		g, fakes := newGroup(t, option.Group{Pick: pick, Failover: true}, 4)
		const n = 400
		was := make(map[int]string)
		for i := range n {
			was[i] = dial(t, g, of(i))
			if again := dial(t, g, of(i)); again != was[i] {
				t.Fatalf("%s: %d moves from %s to %s", pick, i, was[i], again)
			}
		}
		for _, f := range fakes {
			if f.count() < 2*n/8 || f.count() > 2*n/2 {
				t.Errorf("%s: %s has %d of %d", pick, f.tag, f.count(), 2*n)
			}
		}
		fakes[1].set(errors.New("gone"), nil)
		for i := range n {
			if now := dial(t, g, of(i)); now != was[i] && was[i] != "b" {
				t.Fatalf("%s: %d moves from %s to %s, b is gone", pick, i, was[i], now)
			}
		}
	}
}

func TestHashDomain(t *testing.T) {
	sniffed := &adapter.Metadata{Domain: "WWW.example.org", Destination: M.ParseSocksaddr("192.0.2.1:443")}
	named := &adapter.Metadata{Destination: M.ParseSocksaddr("www.example.org:80")}
	if hashDomain(sniffed) != hashDomain(named) {
		t.Error("a sniffed name is another one")
	}
	bare := &adapter.Metadata{Destination: M.ParseSocksaddr("192.0.2.1:443")}
	if hashDomain(bare) == hashDomain(&adapter.Metadata{Destination: M.ParseSocksaddr("192.0.2.2:443")}) {
		t.Error("all addresses are one name")
	}
	g := &Group{pick: option.PickUser}
	source := &adapter.Metadata{Source: netip.MustParseAddrPort("192.0.2.1:1")}
	if g.start(source) != hashSource(source) {
		t.Error("nobody's connections are not told apart by their source")
	}
}

func TestFailover(t *testing.T) {
	broken := errors.New("broken")
	g, fakes := newGroup(t, option.Group{Pick: option.PickRoundRobin, Failover: true}, 3)
	fakes[0].set(broken, nil)
	fakes[1].set(broken, nil)
	if got := dial(t, g, user("u")); got != "c" {
		t.Errorf("%s is asked", got)
	}
	if fakes[0].count() != 1 || fakes[1].count() != 1 {
		t.Errorf("asked %d and %d times", fakes[0].count(), fakes[1].count())
	}
	fakes[2].set(broken, nil)
	_, err := g.Dial(t.Context(), user("u"))
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "a: broken") || !strings.Contains(err.Error(), "c: broken") {
		t.Errorf("err = %v, want one that names all", err)
	}
	if _, err := g.ListenPacket(t.Context(), user("u")); !errors.Is(err, broken) || fakes[1].count() != 3 {
		t.Errorf("packets: %v, b was asked %d times", err, fakes[1].count())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := fakes[0].count() + fakes[1].count() + fakes[2].count()
	if _, err := g.Dial(ctx, user("u")); err == nil || fakes[0].count()+fakes[1].count()+fakes[2].count() != before+1 {
		t.Errorf("a client that is gone has all asked, %v", err)
	}

	g, fakes = newGroup(t, option.Group{Pick: option.PickRoundRobin}, 2)
	fakes[0].set(broken, nil)
	if _, err := g.Dial(t.Context(), user("u")); !errors.Is(err, broken) || fakes[1].count() != 0 {
		t.Errorf("without failover: %v, the next is asked %d times", err, fakes[1].count())
	}
}

func TestUnknownMember(t *testing.T) {
	out, err := New(outbound.Env{}, "g", &option.Group{Outbounds: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := out.Dial(t.Context(), user("u")); err == nil {
		c.Close()
		t.Error("dialled without members")
	}
	err = out.(*Group).Join(func(string) adapter.Outbound { return nil })
	if err == nil || !strings.Contains(err.Error(), `"x"`) {
		t.Errorf("err = %v, want one that names x", err)
	}
}

func TestPickAllocs(t *testing.T) {
	md := user("alice")
	md.Domain = "www.example.org"
	for _, pick := range picks() {
		g, _ := newGroup(t, option.Group{Pick: pick, Check: dead()}, 64)
		n := 1.0
		for try := 0; n > 0 && try < 50; try++ { // the group's checks allocate beside it, for a moment
			n = testing.AllocsPerRun(100, func() { g.next(g.start(md), 1) })
		}
		if n > 0 {
			t.Errorf("%s: %v allocations", pick, n)
		}
	}
}

func picks() []string {
	return []string{
		option.PickRandom, option.PickRoundRobin, option.PickLeastConn, option.PickLeastLatency,
		option.PickUser, option.PickSource, option.PickDomain,
	}
}

// dead is a check that nobody answers.
func dead() *option.GroupCheck { return &option.GroupCheck{URL: "http://cp.test/"} }

func BenchmarkPick(b *testing.B) {
	md := user("alice")
	md.Domain = "www.example.org"
	for _, pick := range picks() {
		g, _ := newGroup(b, option.Group{Pick: pick, Check: dead()}, 8)
		b.Run(pick, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					g.next(g.start(md), 0)
				}
			})
		})
	}
}

// A set tells its groups the others, and ends their checks.
func TestSet(t *testing.T) {
	r := outbound.NewRegistry()
	outbound.Register(r, "direct", func(_ outbound.Env, tag string, _ *option.Direct) (adapter.Outbound, error) {
		return &fake{tag: tag}, nil
	})
	outbound.Register(r, "block", func(_ outbound.Env, tag string, _ *option.Block) (adapter.Outbound, error) {
		return &fake{tag: tag}, nil
	})
	Register(r)
	env := outbound.Env{Log: slog.New(slog.DiscardHandler)}
	inner := &option.Group{Outbounds: []string{"direct", "block"}, Pick: option.PickRoundRobin, Check: &option.GroupCheck{
		URL: "http://cp.test/", Interval: option.Duration(time.Minute), Timeout: option.Duration(time.Minute),
	}}
	set, err := outbound.NewSet(r, env, []option.Outbound{
		{Type: "group", Tag: "outer", Options: &option.Group{Outbounds: []string{"inner"}}}, // before what it names
		{Type: "group", Tag: "inner", Options: inner},
	})
	if err != nil {
		t.Fatal(err)
	}
	md := user("u")
	c, err := set.Get("outer").Dial(t.Context(), md)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if md.Outbound != "inner/direct" && md.Outbound != "inner/block" {
		t.Errorf("the log says %q", md.Outbound)
	}
	if err := set.Close(); err != nil {
		t.Error(err)
	}
	_, err = outbound.NewSet(r, env, []option.Outbound{{Type: "group", Tag: "g", Options: &option.Group{Outbounds: []string{"x"}}}})
	if err == nil || !strings.Contains(err.Error(), `outbound "g"`) {
		t.Errorf("err = %v, want one that names the group", err)
	}
}

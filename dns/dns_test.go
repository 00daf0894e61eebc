package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"heki/dns/upstream"
	"heki/option"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is an upstream that answers as told.
type fake struct {
	mu     sync.Mutex
	asked  []string // "name 4" or "name 6"
	handle func(ctx context.Context, name string, ipv6 bool) (upstream.Answer, error)
	closed atomic.Bool
}

func (f *fake) Lookup(ctx context.Context, name string, ipv6 bool) (upstream.Answer, error) {
	f.mu.Lock()
	f.asked = append(f.asked, name+map[bool]string{false: " 4", true: " 6"}[ipv6])
	handle := f.handle
	f.mu.Unlock()
	return handle(ctx, name, ipv6)
}

func (f *fake) Close() error {
	f.closed.Store(true)
	return nil
}

func (f *fake) set(handle func(context.Context, string, bool) (upstream.Answer, error)) {
	f.mu.Lock()
	f.handle = handle
	f.mu.Unlock()
}

// count returns how many queries came, and forgets them.
func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.asked)
	f.asked = nil
	return n
}

var (
	addr4 = netip.MustParseAddr("192.0.2.1")
	addr6 = netip.MustParseAddr("2001:db8::1")
)

// both answers with one address of each family.
func both(ttl time.Duration) func(context.Context, string, bool) (upstream.Answer, error) {
	return func(_ context.Context, _ string, ipv6 bool) (upstream.Answer, error) {
		if ipv6 {
			return upstream.Answer{Addrs: []netip.Addr{addr6}, TTL: ttl}, nil
		}
		return upstream.Answer{Addrs: []netip.Addr{addr4}, TTL: ttl}, nil
	}
}

func silent(ctx context.Context, _ string, _ bool) (upstream.Answer, error) {
	<-ctx.Done()
	return upstream.Answer{}, ctx.Err()
}

func failing(context.Context, string, bool) (upstream.Answer, error) {
	return upstream.Answer{}, &upstream.RcodeError{Rcode: 2}
}

var errRefused = errors.New("connection refused")

func refused(context.Context, string, bool) (upstream.Answer, error) {
	return upstream.Answer{}, errRefused
}

// newTest builds a client of fakes.
func newTest(t testing.TB, strategy string, fakes ...*fake) *Client {
	t.Helper()
	o := option.DNS{Strategy: strategy, Cache: option.DNSCache{TTL: option.Duration(10 * time.Minute), Size: 64}}
	c := newClient(o, slog.New(slog.DiscardHandler))
	for i, f := range fakes {
		name := fmt.Sprint("server", i)
		c.add(newServer(f, name, name, c.log), "")
	}
	c.finish(c.own)
	return c
}

func mustClose(t testing.TB, c *Client) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func mustLookup(t testing.TB, c *Client, host string, want ...netip.Addr) {
	t.Helper()
	got, err := c.Lookup(t.Context(), "", host)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%s = %v, %v, want %v", host, got, err, want)
	}
}

func TestStrategy(t *testing.T) {
	for _, tt := range []struct {
		strategy string
		queries  int
		want     []netip.Addr
	}{
		{"ipv4_first", 2, []netip.Addr{addr4, addr6}},
		{"ipv4_only", 1, []netip.Addr{addr4}},
		{"ipv6_first", 2, []netip.Addr{addr6, addr4}},
		{"ipv6_only", 1, []netip.Addr{addr6}},
	} {
		f := &fake{handle: both(time.Minute)}
		c := newTest(t, tt.strategy, f)
		mustLookup(t, c, "a.example", tt.want...)
		mustLookup(t, c, "A.Example.", tt.want...)
		if n := f.count(); n != tt.queries {
			t.Errorf("%s: %d queries, want %d", tt.strategy, n, tt.queries)
		}
		mustClose(t, c)
		if !f.closed.Load() {
			t.Error("the upstream was not closed")
		}
	}
}

func TestLiteralsAndBadNames(t *testing.T) {
	f := &fake{handle: both(time.Minute)}
	c := newTest(t, "ipv6_only", f)
	defer mustClose(t, c)
	mustLookup(t, c, "1.2.3.4", netip.MustParseAddr("1.2.3.4"))
	mustLookup(t, c, "::ffff:1.2.3.4", netip.MustParseAddr("1.2.3.4"))
	mustLookup(t, c, "[2001:db8::1]", addr6)
	for _, host := range []string{
		"", ".", "a..b", ".a", "a b", "a/b", "中国", "1.2.3", "2130706433", "127.0.0.0x1", "0x7f000001", "a\x00b",
		strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "example",
	} {
		if _, err := c.Lookup(t.Context(), "", host); !errors.Is(err, ErrNoHost) {
			t.Errorf("%q: err = %v, want ErrNoHost", host, err)
		}
	}
	if n := f.count(); n != 0 {
		t.Errorf("%d queries for what is no name", n)
	}
}

func TestTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{handle: both(time.Minute)}
		c := newTest(t, "ipv4_first", f)
		defer mustClose(t, c)
		at := func(d time.Duration, host string, queries int) {
			t.Helper()
			time.Sleep(d)
			_, _ = c.Lookup(t.Context(), "", host)
			if n := f.count(); n != queries {
				t.Errorf("%s: %d queries, want %d", host, n, queries)
			}
		}
		at(0, "minute.example", 2)
		at(59*time.Second, "minute.example", 0)
		at(time.Second, "minute.example", 2)
		f.set(both(time.Hour)) // held to cache.ttl
		at(0, "hour.example", 2)
		at(10*time.Minute-time.Second, "hour.example", 0)
		at(time.Second, "hour.example", 2)
		f.set(both(0))
		at(0, "zero.example", 2)
		at(0, "zero.example", 2)
		f.set(func(context.Context, string, bool) (upstream.Answer, error) {
			return upstream.Answer{NotFound: true, TTL: time.Hour}, nil
		})
		at(0, "no.example", 2)
		at(29*time.Second, "no.example", 0)
		at(time.Second, "no.example", 2)
		if _, err := c.Lookup(t.Context(), "", "no.example"); !errors.Is(err, ErrNoHost) {
			t.Errorf("err = %v, want ErrNoHost", err)
		}
		f.set(func(context.Context, string, bool) (upstream.Answer, error) {
			return upstream.Answer{TTL: time.Second}, nil
		})
		if _, err := c.Lookup(t.Context(), "", "empty.example"); !errors.Is(err, ErrNoAddress) {
			t.Errorf("err = %v, want ErrNoAddress", err)
		}
		f.set(failing) // a failure is not kept
		f.count()
		at(0, "bad.example", 2)
		at(0, "bad.example", 2)
	})
}

// TestSecondFamily: a slow second family holds an answer up for 300 ms, and then is asked for again soon.
func TestSecondFamily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{handle: func(ctx context.Context, name string, ipv6 bool) (upstream.Answer, error) {
			if ipv6 {
				time.Sleep(100 * time.Millisecond)
				return both(time.Hour)(ctx, name, ipv6)
			}
			return silent(ctx, name, ipv6)
		}}
		c := newTest(t, "ipv4_first", f)
		defer mustClose(t, c)
		begin := time.Now()
		mustLookup(t, c, "slow.example", addr6)
		if d := time.Since(begin); d != 400*time.Millisecond {
			t.Errorf("took %s, want 400ms", d)
		}
		f.set(both(time.Hour))
		time.Sleep(29 * time.Second)
		mustLookup(t, c, "slow.example", addr6)
		time.Sleep(time.Second)
		mustLookup(t, c, "slow.example", addr4, addr6)
		// Without addresses the first family is no reason to hurry the second.
		f.set(func(ctx context.Context, name string, ipv6 bool) (upstream.Answer, error) {
			if ipv6 {
				return upstream.Answer{}, nil
			}
			time.Sleep(2 * time.Second)
			return both(time.Hour)(ctx, name, ipv6)
		})
		mustLookup(t, c, "patient.example", addr4)
	})
}

func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, third := &fake{handle: silent}, &fake{handle: failing}, &fake{handle: both(time.Minute)}
		c := newTest(t, "ipv4_first", first, second, third)
		defer mustClose(t, c)
		begin := time.Now()
		mustLookup(t, c, "a.example", addr4, addr6)
		if d := time.Since(begin).Round(time.Millisecond); d != 1667*time.Millisecond {
			t.Errorf("took %s, want a third of 5s", d)
		}
		// The silent server is asked last for a while, the one that answered with an error is not.
		begin = time.Now()
		mustLookup(t, c, "b.example", addr4, addr6)
		if d := time.Since(begin); d != 0 {
			t.Errorf("took %s although a server was known to be silent", d)
		}
		if n := second.count(); n != 4 {
			t.Errorf("the second server was asked %d times, want 4", n)
		}
		first.set(both(time.Minute))
		first.count()
		time.Sleep(downFor)
		mustLookup(t, c, "c.example", addr4, addr6)
		if n := first.count(); n != 2 {
			t.Errorf("the first server was asked %d times after its pause, want 2", n)
		}
	})
}

func TestNotFoundIsFinal(t *testing.T) {
	first := &fake{handle: func(context.Context, string, bool) (upstream.Answer, error) {
		return upstream.Answer{NotFound: true}, nil
	}}
	second := &fake{handle: both(time.Minute)}
	c := newTest(t, "ipv4_first", first, second)
	defer mustClose(t, c)
	if _, err := c.Lookup(t.Context(), "", "no.example"); !errors.Is(err, ErrNoHost) || second.count() != 0 {
		t.Errorf("err = %v", err)
	}
}

func TestAllFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTest(t, "ipv4_first", &fake{handle: silent}, &fake{handle: refused})
		defer mustClose(t, c)
		begin := time.Now()
		_, err := c.Lookup(t.Context(), "", "a.example")
		if !errors.Is(err, errRefused) || !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "\n") {
			t.Errorf("err = %v", err)
		}
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("took %s, want at most 5s", d)
		}
	})
}

func TestNewServers(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	two := []option.DNSServer{{Tag: "a", Address: "8.8.8.8"}, {Tag: "b", Address: "tcp://1.1.1.1"}}
	local := append(slices.Clone(two), option.DNSServer{Tag: "local", Address: "system"})
	for _, tt := range []struct {
		name    string
		servers []option.DNSServer
		final   []string
		want    []string
	}{
		{"none", nil, nil, []string{"system"}},
		{"all, then the system", two, nil, []string{"a", "b", "system"}},
		{"the system where it stands", local[1:], nil, []string{"b", "local"}},
		{"final", two, []string{"b"}, []string{"b", "system"}},
		{"final, then the system", local, []string{"b"}, []string{"b", "local"}},
		{"final with the system", local, []string{"local", "a"}, []string{"local", "a"}},
	} {
		c, err := New(option.DNS{Servers: tt.servers, Final: tt.final}, nil, log)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var got []string
		for _, s := range c.defaults {
			got = append(got, s.tag)
		}
		mustClose(t, c)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	_, err := New(option.DNS{Servers: []option.DNSServer{{Address: "8.8.8.8"}, {Address: "dot://1.1.1.1"}, {Address: "a b"}}}, nil, log)
	for _, want := range []string{`dns.servers[1].address: is "dot://1.1.1.1", must be`, "dns.servers[2].address: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	var mistake *option.Mistake
	if _, err := New(option.DNS{Servers: two, Final: []string{"a", "c"}}, nil, log); !errors.As(err, &mistake) || mistake.Path != "dns.final[1]" {
		t.Errorf("unknown tag: %v", err)
	}
}

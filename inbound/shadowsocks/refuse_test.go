package shadowsocks

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/inbound"
	"heki/inbound/inboundtest"
	"heki/internal/netio"
	"heki/internal/protocol/shadowsocks"
	"heki/internal/protocol/ss2022"
	"heki/option"
	"heki/transport/tcp"
)

var destination = M.ParseSocksaddr("192.0.2.1:443")

// Whatever is wrong with a request, its sender gets silence for the time of a handshake and then an
// orderly end.
func TestRefusalsLookAlike(t *testing.T) {
	for name, c := range map[string]client{
		"aead": {classic: shadowsocks.AES256GCM, at: someTime},
		"2022": {modern: ss2022.AES128GCM, at: someTime},
		"one":  {modern: ss2022.AES256GCM, single: true, at: someTime},
	} {
		t.Run(name, func(t *testing.T) { testRefusals(t, c) })
	}
}

func testRefusals(t *testing.T, c client) {
	const handshake = 2 * time.Second // longer than a busy machine takes to write
	s := inboundtest.Start(t, c.protocol(), inboundtest.Waiting(handshake), 1)
	request := func(c client, user int) []byte {
		b := c.request(c.account(user), destination, []byte("hello"))
		return b
	}
	flip := func(b []byte, i int) []byte {
		b[i] ^= 1
		return b
	}
	replayed := inboundtest.Serve(t, s, func(to M.Socksaddr) []byte {
		return c.request(c.account(0), to, []byte("hello"))
	})
	cases := map[string][]byte{
		"replayed":      replayed,
		"stranger":      request(c, 7),
		"1 byte":        request(c, 0)[:1],
		"salt":          request(c, 0)[:16],
		"changed salt":  flip(request(c, 0), 0),
		"changed start": flip(request(c, 0), 40),
		"random":        bytes.Repeat([]byte("x9"), 1000),
		"http":          []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n" + strings.Repeat("x", 100)),
	}
	last := len(request(c, 0)) - 1
	if c.modern > 0 {
		old, early := c, c
		old.at, early.at = someTime.Add(-31*time.Second), someTime.Add(31*time.Second)
		cases["31 s late"], cases["31 s early"] = request(old, 0), request(early, 0)
		cases["cut in the header"] = request(c, 0)[:c.modern.RequestSize(c.named())+5]
		cases["changed header"] = flip(request(c, 0), last)
		if c.named() {
			cases["wrong identity"] = flip(request(c, 0), c.modern.KeySize()+3)
		}
	} else {
		cases["no address"] = c.sealed("\x07 is no type of an address")
		cases["cut in the address"] = c.sealed("\x03\x20example")
	}
	var wg sync.WaitGroup
	for name, first := range cases {
		wg.Go(func() {
			start := time.Now()
			conn := s.Dial(t)
			defer conn.Close()
			if _, err := conn.Write(first); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			got, err := io.ReadAll(conn)
			if d := time.Since(start); len(got) > 0 || err != nil || d < handshake-50*time.Millisecond {
				t.Errorf("%s: %d bytes, %v after %s", name, len(got), err, d)
			}
		})
	}
	wg.Wait()
}

// sealed is a stream of the first user that begins with text instead of an address.
func (c client) sealed(text string) []byte {
	rec := new(recorder)
	key := shadowsocks.NewKey(c.classic, c.account(0).Password)
	conn := shadowsocks.NewServerConn(netio.NewConn(rec), c.classic, key, nil, random(c.classic.KeySize()), nil) // whose writes have no address
	_, _ = conn.Write([]byte(text))
	return rec.b
}

// 30 s off is served.
func TestClockOffIsServed(t *testing.T) {
	for _, off := range []time.Duration{-30 * time.Second, 30 * time.Second} {
		c := client{modern: ss2022.AES128GCM, at: someTime}
		s := inboundtest.Start(t, c.protocol(), inboundtest.Waiting(time.Minute), 1)
		late := c
		late.at = someTime.Add(off)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if conn, err := l.Accept(); err == nil {
				_, _ = io.Copy(conn, conn)
				conn.Close()
			}
		}()
		conn := late.stream(c.account(0), l.Addr(), s.Dial(t))
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
			t.Errorf("%s off: %q, %v", off, got, err)
		}
		conn.Close()
		l.Close()
	}
}

// A server's own answer is no request: neither a stream nor a datagram of it comes back to it.
func TestReplayOutlivesTheInbound(t *testing.T) {
	c := client{classic: shadowsocks.AES128GCM}
	m := NewMemory()
	first := c.request(c.account(0), destination, nil)
	for i, want := range []error{nil, errReplay, errReplay} {
		in := newTestInbound(t, c, m, 3)
		classic, _ := in.(*classic)
		f, _, err := classic.identify(t.Context(), first, &adapter.Metadata{})
		if !errors.Is(err, want) || err == nil && f.who.user.Name != "user0" {
			t.Errorf("%d: %+v, %v", i, f.who, err)
		}
	}
}

// newTestInbound is an inbound that does not listen, with so many users.
func newTestInbound(t testing.TB, c client, m *Memory, users int) adapter.Inbound {
	t.Helper()
	env := inbound.Env{Listeners: new(tcp.Pool), Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return someTime }}
	in, err := New(env, "in", c.options(option.Stream{}), m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	all := make([]*adapter.User, users)
	for i := range all {
		all[i] = &adapter.User{Account: c.account(i)}
	}
	um, _ := in.(adapter.UserManager)
	if err := um.SwapUsers(all); err != nil {
		t.Fatal(err)
	}
	return in
}

func TestSwap(t *testing.T) {
	in, _ := newTestInbound(t, client{classic: shadowsocks.AES128GCM}, NewMemory(), 3).(*classic)
	c := client{classic: shadowsocks.AES128GCM}
	before := in.users.Load()
	next := []*adapter.User{{Account: c.account(2)}, {Account: c.account(0)}, {Account: c.account(9)}}
	if err := in.SwapUsers(next); err != nil {
		t.Fatal(err)
	}
	after := in.users.Load()
	if after.entries[0].keys != before.entries[2].keys || after.entries[1].keys != before.entries[0].keys || after.entries[1].user != next[1] {
		t.Error("keys of unchanged users are made again")
	}
	for name, bad := range map[string][]*adapter.User{
		"no password":       {{Account: c.account(1)}, {}},
		"the same password": {{Account: c.account(1)}, {Account: adapter.Account{Name: "x", Password: c.account(1).Password}}},
	} {
		if err := in.SwapUsers(bad); err == nil || in.users.Load() != after {
			t.Errorf("%s is taken", name)
		}
	}
	m := client{modern: ss2022.AES128GCM}
	modern, _ := newTestInbound(t, m, NewMemory(), 3).(*modern)
	for name, bad := range map[string][]*adapter.User{
		"no key":       {{Account: m.account(1)}, {}},
		"a short key":  {{Account: adapter.Account{Password: "YWJj"}}},
		"the same key": {{Account: m.account(1)}, {Account: m.account(1)}},
	} {
		if err := modern.SwapUsers(bad); err == nil || len(modern.users.Load().byHash) != 3 {
			t.Errorf("%s is taken", name)
		}
	}
	one := client{modern: ss2022.ChaCha20Poly1305}
	chacha, _ := newTestInbound(t, one, NewMemory(), 0).(modern2022)
	if err := chacha.SwapUsers([]*adapter.User{{Account: one.account(1)}, {Account: one.account(2)}}); !errors.Is(err, errOneUser) {
		t.Errorf("two users without identity: %v", err)
	}
}

// modern2022 names the type where a variable hides it.
type modern2022 = *modern

// An address that fails too often is refused at once, also with the right password, for a while.
func TestBans(t *testing.T) {
	for name, c := range map[string]client{
		"aead": {classic: shadowsocks.AES128GCM},
		"2022": {modern: ss2022.AES128GCM},
	} {
		t.Run(name, func(t *testing.T) { testBans(t, c) })
	}
}

func testBans(t *testing.T, c client) {
	c.at = someTime
	var mu sync.Mutex
	now := someTime
	p := c.protocol()
	p.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	limits := &option.Limits{InvalidAccess: option.InvalidAccess{Count: 3, Window: option.Duration(time.Minute), Ban: option.Duration(10 * time.Minute)}}
	s := inboundtest.Start(t, p, option.Stream{Limits: limits}, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); conn.Close() }()
		}
	}()
	served := func() bool {
		conn := c.stream(c.account(0), l.Addr(), s.Dial(t))
		defer conn.Close()
		_, _ = conn.Write([]byte("hello"))
		got := make([]byte, 5)
		_, err := io.ReadFull(conn, got)
		return err == nil && string(got) == "hello"
	}
	for range 3 {
		if !served() {
			t.Fatal("refused too early")
		}
		conn := s.Dial(t)
		conn.Write(random(100))
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		conn.Close()
	}
	if served() {
		t.Error("served though the address failed three times")
	}
	mu.Lock()
	now = now.Add(10*time.Minute + time.Second)
	c.at = now
	mu.Unlock()
	if !served() {
		t.Error("refused after the ban")
	}
}

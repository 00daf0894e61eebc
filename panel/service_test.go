package panel_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"heki/adapter"
	"heki/internal/meter"
	"heki/option"
	"heki/panel"
	"heki/panel/local"
	"heki/panel/paneltest"
	"heki/panel/xboard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	token = "secret-token-0123456789"
	tag1  = "panel/main/1"
)

// host records what it is asked to serve.
type host struct {
	mu       sync.Mutex
	inbounds map[string]*inbound
	replaced map[string]int
	rules    map[string][]string
	refuse   map[string]error // Replace of the tag fails
}

type inbound struct {
	h     *host
	opts  option.Inbound
	users []*adapter.User
	swaps int
	fail  error
}

func newHost() *host {
	return &host{inbounds: map[string]*inbound{}, replaced: map[string]int{}, rules: map[string][]string{}, refuse: map[string]error{}}
}

func (h *host) Replace(in option.Inbound, users []*adapter.User) (adapter.UserManager, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.refuse[in.Tag]; err != nil {
		return nil, err
	}
	i := &inbound{h: h, opts: in, users: slices.Clone(users)}
	h.inbounds[in.Tag] = i
	h.replaced[in.Tag]++
	return i, nil
}

func (i *inbound) SwapUsers(users []*adapter.User) error {
	i.h.mu.Lock()
	defer i.h.mu.Unlock()
	if i.fail != nil {
		return i.fail
	}
	i.users = slices.Clone(users)
	i.swaps++
	return nil
}

func (h *host) Remove(tag string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.inbounds, tag)
	return nil
}

func (h *host) SetRules(tag string, lines []string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rules[tag] = lines
	return nil
}

// users returns what the tag serves by id, nil when it serves nothing.
func (h *host) users(tag string) map[int64]*adapter.User {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := h.inbounds[tag]
	if i == nil {
		return nil
	}
	m := make(map[int64]*adapter.User)
	for _, u := range i.users {
		m[u.ID] = u
	}
	return m
}

func (h *host) times(tag string) (replaced, swaps int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := h.inbounds[tag]; i != nil {
		swaps = i.swaps
	}
	return h.replaced[tag], swaps
}

// journal collects log lines.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, string(b))
	return len(b), nil
}

func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, l := range j.lines {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}

func (j *journal) dump(t *testing.T) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	t.Log("\n" + strings.Join(j.lines, ""))
}

// bench is a service with its panel, host and clock, inside a synctest bubble.
type bench struct {
	t     *testing.T
	panel *paneltest.Panel
	wire  *paneltest.Wire
	host  *host
	log   *journal
	cfg   panel.Config
	s     *panel.Service
}

func newBench(t *testing.T, nodes int) *bench {
	t.Helper()
	b := &bench{t: t, panel: paneltest.New(token), host: newHost(), log: &journal{}}
	b.wire = &paneltest.Wire{Panel: b.panel}
	o := option.Panel{Name: "main", Type: "xboard", URL: "http://panel.test", Key: token, APIVersion: 2, Timeout: option.Duration(15 * time.Second)}
	for id := 1; id <= nodes; id++ {
		b.panel.SetNode(paneltest.Node{ID: id, Protocol: "vless", Port: 10000 + id})
		o.Nodes = append(o.Nodes, option.PanelNode{ID: int64(id)})
	}
	b.cfg = panel.Config{
		Options: []option.Panel{o}, StateDir: t.TempDir(), Host: b.host, HTTP: b.wire,
		Limits: option.Limits{IPExpiry: option.Duration(time.Minute), CIDRv4: 32, CIDRv6: 128},
		Kinds:  map[string]panel.Kind{"xboard": xboard.Kind(), "local": local.Kind()},
		Log:    slog.New(slog.NewTextHandler(b.log, nil)),
	}
	return b
}

// start begins another life of the process: a new ledger on the same disk.
func (b *bench) start() {
	b.t.Helper()
	b.cfg.Ledger = meter.NewLedger()
	s, err := panel.New(b.cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.s = s
	s.Start()
	synctest.Wait()
}

func (b *bench) stop() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := b.s.Close(ctx); err != nil {
		b.t.Logf("close: %v", err)
	}
}

// pass lets d go by.
func (b *bench) pass(d time.Duration) {
	time.Sleep(d) // inside the bubble: the fake clock moves at once
	synctest.Wait()
}

func (b *bench) sync() {
	b.s.SyncNow("")
	synctest.Wait()
}

// move counts bytes for the user on the node.
func (b *bench) move(tag string, id, up, down int64) {
	b.t.Helper()
	u := b.host.users(tag)[id]
	if u == nil {
		b.t.Fatalf("user %d is not served on %s", id, tag)
	}
	l, err := u.Meter.Open(context.Background(), netip.MustParseAddr("192.0.2.1"), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	l.Up(up)
	l.Down(down)
	l.Close()
}

func (b *bench) status(tag string) panel.Status {
	for _, st := range b.s.Status() {
		if st.Tag == tag {
			return st
		}
	}
	b.t.Fatalf("no status of %s", tag)
	return panel.Status{}
}

func TestUsersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		for id := 1; id <= 4; id++ {
			b.panel.SetUser(paneltest.User{ID: id, SpeedMbps: 100})
		}
		b.start()
		defer b.stop()
		before := b.host.users(tag1)
		if len(before) != 4 {
			b.log.dump(t)
			t.Fatalf("serving %d users, want 4", len(before))
		}
		cut := make(map[int64]int)
		for id, u := range before {
			if _, err := u.Meter.Open(t.Context(), netip.MustParseAddr("192.0.2.1"), func() { cut[id]++ }); err != nil {
				t.Fatal(err)
			}
		}
		b.panel.RemoveUser(1)
		key := b.panel.Rekey(2)
		b.panel.SetUser(paneltest.User{ID: 3, UUID: b.panel.Users()[1].UUID, SpeedMbps: 7}) // users are sorted: that is 3
		b.panel.SetUser(paneltest.User{ID: 5})
		b.sync()

		after := b.host.users(tag1)
		if got, want := slices.Sorted(maps.Keys(after)), []int64{2, 3, 4, 5}; !slices.Equal(got, want) {
			t.Fatalf("serving %v, want %v", got, want)
		}
		if after[4] != before[4] {
			t.Error("the unchanged user is another *User")
		}
		if after[3].Meter != before[3].Meter || after[3].SpeedBytes != 875_000 {
			t.Errorf("new limit: %+v", after[3].Account)
		}
		if after[2].Meter == before[2].Meter || after[2].Password != key {
			t.Error("the new credential has the old meter")
		}
		if want := map[int64]int{1: 1, 2: 1}; !maps.Equal(cut, want) {
			t.Errorf("cut %v, want %v", cut, want)
		}
		for _, id := range []int64{1, 2} {
			if _, err := before[id].Meter.Open(t.Context(), netip.MustParseAddr("192.0.2.1"), nil); !errors.Is(err, adapter.ErrLimited) {
				t.Errorf("user %d still opens with the old meter: %v", id, err)
			}
		}
		if replaced, swaps := b.host.times(tag1); replaced != 1 || swaps != 1 {
			t.Errorf("replaced %d times, swapped %d times; want 1, 1", replaced, swaps)
		}
		b.sync()
		if _, swaps := b.host.times(tag1); swaps != 1 {
			t.Error("an unchanged answer swapped users")
		}
	})
}

func TestNodeChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2)
		b.panel.SetUser(paneltest.User{ID: 1})
		b.panel.SetUser(paneltest.User{ID: 2})
		b.start()
		defer b.stop()
		first := b.host.users(tag1)[1]
		row := paneltest.Node{ID: 1, Protocol: "trojan", Port: 443, Network: "ws", Path: "/x", TLS: 1, ServerName: "a.example.com",
			Routes: []paneltest.Route{{ID: 1, Match: []string{"domain:ads.example"}, Action: "block"}, {ID: 2, Match: []string{"x"}, Action: "dns"}}}
		b.panel.SetNode(row)
		b.sync()
		in := b.host.inbounds[tag1].opts
		o, ok := in.Options.(*option.Trojan)
		if !ok || in.Type != "trojan" || o.ListenPort != 443 || !o.TLS.Enabled || o.TLS.ServerName != "a.example.com" || o.Transport.Type != "ws" || o.Transport.Path != "/x" {
			t.Errorf("inbound = %+v", in)
		}
		if b.host.users(tag1)[1] != first {
			t.Error("users changed with the node")
		}
		if r, _ := b.host.times("panel/main/2"); r != 1 {
			t.Errorf("the other node was replaced %d times", r)
		}
		if got := b.host.rules[tag1]; !slices.Equal(got, []string{"domain:ads.example"}) {
			t.Errorf("rules = %q", got)
		}
		if b.log.count("route 2 (dns)") != 1 {
			t.Error("the action that is not served was not named once")
		}

		// The host refuses the next settings: the old inbound goes on, and loses the removed user.
		b.host.refuse[tag1] = errors.New("port 80: address already in use")
		row.Port = 80
		b.panel.SetNode(row)
		b.panel.RemoveUser(2)
		b.sync()
		if got := b.host.users(tag1); len(got) != 1 || b.host.inbounds[tag1].opts.Options.(*option.Trojan).ListenPort != 443 {
			t.Errorf("after a refusal: %d users", len(got))
		}
		if st := b.status(tag1); !strings.Contains(st.Err, "address already in use") {
			t.Errorf("status: %q", st.Err)
		}
		delete(b.host.refuse, tag1)
		b.sync() // without a new answer of the panel
		if got := b.host.inbounds[tag1].opts.Options.(*option.Trojan).ListenPort; got != 80 {
			t.Errorf("port = %d, want 80", got)
		}

		// Settings that cannot be served leave everything, and users still come and go.
		b.panel.SetRawConfig(1, `{"protocol":"vmess","server_port":1,"network":"tcp"}`)
		b.panel.SetUser(paneltest.User{ID: 9})
		b.sync()
		if got := b.host.users(tag1); len(got) != 2 || got[9] == nil {
			t.Errorf("users = %v", got)
		}
		if b.log.count("node 1 is vmess, which this version does not serve") == 0 {
			t.Error("the refusal was not told")
		}
	})
}

func TestSwapFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetUser(paneltest.User{ID: 1})
		b.start()
		defer b.stop()
		old := b.host.users(tag1)[1]
		b.host.inbounds[tag1].fail = errors.New("user 1: bad key")
		b.panel.Rekey(1)
		b.sync()
		if l, err := old.Meter.Open(t.Context(), netip.Addr{}, nil); err != nil {
			t.Errorf("the user in force was cut off: %v", err)
		} else {
			l.Up(5)
			l.Close()
		}
		b.host.inbounds[tag1].fail = nil
		b.sync()
		if _, err := old.Meter.Open(t.Context(), netip.Addr{}, nil); err == nil {
			t.Error("the old credential still opens")
		}
		b.move(tag1, 1, 3, 0)
		b.pass(2 * time.Minute)
		if got := b.panel.Traffic(1, 1).Up; got != 8 {
			t.Errorf("billed %d, want 8", got)
		}
	})
}

func TestEmptyUsersTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetUser(paneltest.User{ID: 1})
		b.start()
		defer b.stop()
		b.panel.Fail(paneltest.Users, paneltest.EmptyUsers(), 1)
		b.sync()
		if len(b.host.users(tag1)) != 1 || b.log.count("no users instead of 1") != 1 {
			t.Fatal("one empty answer cut everybody")
		}
		b.sync() // well again
		if len(b.host.users(tag1)) != 1 {
			t.Fatal("cut although the panel is well")
		}
		b.panel.RemoveUser(1)
		b.sync()
		if len(b.host.users(tag1)) != 1 {
			t.Fatal("the first of two empty answers cut")
		}
		b.sync() // a 304 is the second sighting
		if len(b.host.users(tag1)) != 0 {
			t.Error("two empty answers did not cut")
		}
	})
}

func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetUser(paneltest.User{ID: 1, UUID: "not-really-a-uuid", SpeedMbps: 3, DeviceLimit: 2})
		u := b.panel.SetUser(paneltest.User{ID: 2})
		b.start()
		want := b.host.users(tag1)
		b.stop()

		b.host = newHost()
		b.cfg.Host = b.host
		b.wire.SetDown(true)
		b.start()
		got := b.host.users(tag1)
		if len(got) != 2 {
			b.log.dump(t)
			t.Fatalf("from the snapshot: %d users", len(got))
		}
		for id := range want {
			if got[id].Account != want[id].Account {
				t.Errorf("snapshot has %+v, want %+v", got[id].Account, want[id].Account)
			}
		}
		if !b.status(tag1).FromSnapshot || b.log.count("from the snapshot of") != 1 {
			t.Error("nobody was told")
		}
		b.wire.SetDown(false)
		b.panel.RemoveUser(u.ID)
		b.pass(time.Minute)
		if len(b.host.users(tag1)) != 1 || b.status(tag1).FromSnapshot {
			t.Error("the panel is back and was not heard")
		}
		b.stop()

		// A panel that takes connections and says nothing holds the start up for seconds only.
		b.host = newHost()
		b.cfg.Host = b.host
		b.panel.Fail(paneltest.Any, paneltest.Hang(false), -1)
		b.start()
		b.pass(4 * time.Second)
		if len(b.host.users(tag1)) != 1 {
			t.Error("not serving from the snapshot after 4 s")
		}
		b.stop()

		// A corrupt snapshot is moved aside and not fatal.
		files, err := os.ReadDir(b.cfg.StateDir + "/panels")
		if err != nil || len(files) != 1 {
			t.Fatalf("snapshots: %v, %v", files, err)
		}
		path := b.cfg.StateDir + "/panels/" + files[0].Name()
		if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
			t.Errorf("mode = %v", info.Mode())
		}
		if err := os.WriteFile(path, []byte(`{"version":1,"nodes":[{"id":1,"proto`), 0o600); err != nil {
			t.Fatal(err)
		}
		b.host = newHost()
		b.cfg.Host = b.host
		b.start()
		b.pass(4 * time.Second)
		if b.host.users(tag1) != nil || b.log.count(".corrupt") != 1 {
			t.Error("corrupt snapshot")
		}
		b.panel.Heal()
		b.pass(time.Minute)
		if len(b.host.users(tag1)) != 1 {
			t.Error("not serving after the panel healed")
		}
		b.stop()
	})
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.cfg.Limits.UserSpeedMbps = 50
		b.cfg.Limits.UserConns = 9
		b.cfg.Options[0].NodeDefaults.Limits = &option.Limits{UserIPs: 2}
		b.panel.SetUser(paneltest.User{ID: 1, SpeedMbps: 100, DeviceLimit: 1})
		b.panel.SetUser(paneltest.User{ID: 2, SpeedMbps: 8, DeviceLimit: 5})
		b.panel.SetUser(paneltest.User{ID: 3})
		b.start()
		defer b.stop()
		for id, want := range map[int64][3]int64{1: {6_250_000, 1, 9}, 2: {1_000_000, 2, 9}, 3: {6_250_000, 2, 9}} {
			a := b.host.users(tag1)[id].Account
			if got := [3]int64{a.SpeedBytes, int64(a.IPLimit), int64(a.ConnLimit)}; got != want {
				t.Errorf("user %d: %v, want %v", id, got, want)
			}
		}
		before := b.host.users(tag1)
		limits := b.cfg.Limits
		limits.UserSpeedMbps = 4
		if err := b.s.Reload(b.cfg.Options, limits, option.Traffic{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		after := b.host.users(tag1)
		if after[1].SpeedBytes != 500_000 || after[1].Meter != before[1].Meter {
			t.Errorf("after reload: %+v", after[1].Account)
		}
		if r, _ := b.host.times(tag1); r != 1 {
			t.Errorf("limits rebuilt the inbound: %d", r)
		}
	})
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 3)
		b.panel.SetUser(paneltest.User{ID: 1})
		b.start()
		defer b.stop()
		b.move("panel/main/2", 1, 100, 0)
		b.panel.SetNode(paneltest.Node{ID: 4, Protocol: "vless", Port: 4})
		next := b.cfg.Options[0]
		three := option.PanelNode{ID: 3}
		three.TCPFastOpen = true
		next.Nodes = []option.PanelNode{{ID: 1}, three, {ID: 4}}
		requests := b.panel.Requests(paneltest.Config)
		if err := b.s.Reload([]option.Panel{next}, b.cfg.Limits, option.Traffic{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := b.panel.Traffic(2, 1).Up; got != 100 {
			t.Errorf("the removed node's last report: %d bytes, want 100", got)
		}
		if b.host.users("panel/main/2") != nil || len(b.host.users("panel/main/4")) != 1 {
			t.Error("nodes are not those of the new configuration")
		}
		for id, want := range map[int]int{1: 1, 3: 2, 4: 1} {
			if r, _ := b.host.times(panel.Tag("main", int64(id))); r != want {
				t.Errorf("node %d was built %d times, want %d", id, r, want)
			}
		}
		if got := b.panel.Requests(paneltest.Config) - requests; got != 2 {
			t.Errorf("%d config calls, want 2: the unchanged node must not notice", got)
		}
		bad := next
		bad.Type = "nothing"
		if err := b.s.Reload([]option.Panel{bad}, b.cfg.Limits, option.Traffic{}); err == nil || len(b.s.Status()) != 3 {
			t.Errorf("a bad configuration was taken: %v", err)
		}
	})
}

func TestOneBadNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const nodes = 64
		b := newBench(t, nodes)
		b.panel.SetUser(paneltest.User{ID: 1})
		b.cfg.Kinds["xboard"] = panel.Kind{New: func(env panel.Env, o *option.Panel, n *option.PanelNode) (panel.Client, error) {
			c, err := xboard.New(env, o, n)
			if n.ID == 7 {
				return sick{}, nil
			}
			return c, err
		}}
		b.panel.RemoveNode(9)
		b.start()
		defer b.stop()
		good := 0
		for id := 1; id <= nodes; id++ {
			if b.host.users(panel.Tag("main", int64(id))) != nil {
				good++
			}
		}
		if good != nodes-2 {
			t.Errorf("%d nodes serve, want %d", good, nodes-2)
		}
		if b.log.count("sync panicked: out of order") != 1 {
			t.Error("the panic was not told")
		}
		b.pass(3 * time.Minute)
		if got := b.log.count("Server does not exist"); got != 1 {
			t.Errorf("the same failure was told %d times", got)
		}
		b.panel.SetNode(paneltest.Node{ID: 9, Protocol: "vless", Port: 9})
		b.pass(6 * time.Minute)
		if b.host.users(panel.Tag("main", 9)) == nil || b.log.count("sync works again") != 1 {
			t.Error("the node that appeared is not served")
		}
	})
}

// sick is a client with a bug.
type sick struct{}

func (sick) Node(context.Context) (*panel.Node, error)            { panic("out of order") }
func (sick) Users(context.Context) ([]adapter.Account, error)     { return nil, nil }
func (sick) ReportTraffic(context.Context, []meter.Traffic) error { return nil }
func (sick) ReportOnline(context.Context, []meter.Online) error   { return nil }

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.Fail(paneltest.Any, paneltest.WrongDate(90*time.Second), 4)
		b.start()
		defer b.stop()
		b.sync()
		if off := b.s.Offset(); off < 89*time.Second || off > 91*time.Second {
			t.Errorf("offset = %s, want 90s", off)
		}
		if b.log.count("differs from the panel's by 1m3") != 1 {
			b.log.dump(t)
			t.Error("nobody was warned")
		}
		for range 10 {
			b.sync()
		}
		if off := b.s.Offset(); off.Abs() > time.Second || b.log.count("agrees") != 1 {
			t.Errorf("offset = %s after the panel is right again", off)
		}
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.wire.SetDown(true)
		calls := &counter{next: b.wire}
		b.cfg.HTTP = calls
		b.start()
		defer b.stop()
		b.pass(time.Hour)
		calls.mu.Lock()
		defer calls.mu.Unlock()
		for i := 1; i < len(calls.at); i++ {
			gap := calls.at[i].Sub(calls.at[i-1])
			ideal := 5 * time.Minute
			if i < 6 {
				ideal = 10 * time.Second << (i - 1)
			}
			if gap < ideal*9/10 || gap > ideal*11/10+time.Second {
				t.Errorf("gap %d is %s, want %s ± 10 %%", i, gap, ideal)
			}
		}
		if n := len(calls.at); n < 14 || n > 20 {
			t.Errorf("%d tries in an hour", n)
		}
	})
}

type counter struct {
	next http.RoundTripper
	mu   sync.Mutex
	at   []time.Time
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.at = append(c.at, time.Now())
	c.mu.Unlock()
	return c.next.RoundTrip(r)
}

func TestIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetNode(paneltest.Node{ID: 1, Protocol: "vless", Port: 1, Pull: 20, Push: 30})
		b.start()
		n := b.panel.Requests(paneltest.Users)
		b.pass(10 * time.Minute)
		if got := b.panel.Requests(paneltest.Users) - n; got < 27 || got > 34 {
			t.Errorf("%d pulls in 10 min, want about 30", got)
		}
		b.stop()
		b.cfg.Options[0].SyncInterval = option.Duration(2 * time.Minute)
		b.start()
		defer b.stop()
		n = b.panel.Requests(paneltest.Users)
		b.pass(20 * time.Minute)
		if got := b.panel.Requests(paneltest.Users) - n; got < 9 || got > 12 {
			t.Errorf("%d pulls in 20 min, want about 10: the configuration wins", got)
		}
	})
}

func TestLocalNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 0)
		path := t.TempDir() + "/users.json"
		text := `{"version":1,"nodes":[{"id":1,"protocol":"vless","port":1},{"id":2,"protocol":"trojan","port":2}],"users":[{"id":1,"uuid":"a"}]}`
		if err := panel.WriteAtomic(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		b.cfg.Options = []option.Panel{{Name: "files", Type: "local", Path: path, Timeout: option.Duration(time.Second)}}
		b.start()
		for _, tag := range []string{"panel/files/1", "panel/files/2"} {
			if len(b.host.users(tag)) != 1 {
				b.log.dump(t)
				t.Fatalf("%s serves %d users", tag, len(b.host.users(tag)))
			}
		}
		b.move("panel/files/2", 1, 10, 20)
		b.stop()
		files, err := os.ReadDir(b.cfg.StateDir + "/local")
		if err != nil || len(files) != 1 {
			t.Fatalf("totals: %v, %v", files, err)
		}
		raw, err := os.ReadFile(b.cfg.StateDir + "/local/" + files[0].Name())
		if err != nil || !strings.Contains(string(raw), `"down": 20`) {
			t.Errorf("totals = %s, %v", raw, err)
		}
	})
}

func ExampleTag() {
	fmt.Println(panel.Tag("main", 12))
	// Output: panel/main/12
}

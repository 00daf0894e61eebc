package panel_test

import (
	"context"
	"log/slog"
	"net/netip"
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
	"heki/panel/detect"
	"heki/panel/local"
	"heki/panel/paneltest"
	"heki/panel/sspanel"
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
	routing  map[string]panel.Routing
	refuse   map[string]error // Replace of the tag fails
}

type inbound struct {
	h     *host
	opts  option.Inbound
	users []*adapter.User
	swaps int
	fail  error

	routing panel.Routing // in force when it began
}

func newHost() *host {
	return &host{inbounds: map[string]*inbound{}, replaced: map[string]int{}, rules: map[string][]string{}, routing: map[string]panel.Routing{}, refuse: map[string]error{}}
}

func (h *host) Replace(in option.Inbound, users []*adapter.User) (adapter.UserManager, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.refuse[in.Tag]; err != nil {
		return nil, err
	}
	i := &inbound{h: h, opts: in, users: slices.Clone(users), routing: h.routing[in.Tag]}
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

func (h *host) SetRouting(tag string, r panel.Routing) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.routing[tag] = r
	h.rules[tag] = nil
	for _, rule := range r.Rules {
		h.rules[tag] = append(h.rules[tag], rule.Lines...)
	}
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
	o := option.Panel{Name: "main", Type: "xboard", URL: "http://panel.test", Key: token, APIVersion: 1, Timeout: option.Duration(15 * time.Second)}
	for id := 1; id <= nodes; id++ {
		b.panel.SetNode(paneltest.Node{ID: id, Protocol: "vless", Port: 10000 + id})
		o.Nodes = append(o.Nodes, option.PanelNode{ID: int64(id)})
	}
	kinds := map[string]panel.Kind{"xboard": xboard.Kind(), "local": local.Kind(), "sspanel": sspanel.Kind()}
	kinds[""] = detect.Kind(kinds)
	b.cfg = panel.Config{
		Options: []option.Panel{o}, StateDir: t.TempDir(), Host: b.host, HTTP: b.wire,
		Limits: option.Limits{IPExpiry: option.Duration(time.Minute), CIDRv4: 32, CIDRv6: 128},
		Kinds:  kinds,
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

// stop ends this life of the process. Its inbounds go with it: a real one closes them before the service,
// and a host that served on while the next life waits for the panel would count on meters whose ledger
// nobody reports any more.
func (b *bench) stop() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := b.s.Close(ctx); err != nil {
		b.t.Logf("close: %v", err)
	}
	b.host = newHost()
	b.cfg.Host = b.host
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

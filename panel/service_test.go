package panel_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"heki/adapter"
	"heki/internal/meter"
	"heki/option"
	"heki/panel"
	"heki/panel/machine"
	"heki/panel/paneltest"
	"heki/panel/xboard"
)

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

// TestRetryAfter: what a panel asks for holds for every call of the node, whichever it was about.
func TestRetryAfter(t *testing.T) {
	for _, call := range []paneltest.Call{paneltest.Users, paneltest.PushCall, paneltest.AliveCall, paneltest.AliveList, paneltest.Status} {
		t.Run(string(call), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, 1)
				b.cfg.Machine = machine.New("/")
				b.panel.SetUser(paneltest.User{ID: 1, DeviceLimit: 3})
				b.start()
				defer b.stop()
				l, err := b.host.users(tag1)[1].Meter.Open(t.Context(), netip.MustParseAddr("192.0.2.1"), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				l.Up(100)
				before := b.panel.Requests(call)
				b.panel.Fail(call, paneltest.TooMany(10*time.Minute), 1)
				for i := 0; b.panel.Requests(call) == before; i++ {
					if i == 200 {
						t.Fatal("the call was never made")
					}
					b.pass(time.Second)
				}
				total := b.panel.Requests(paneltest.Any)
				b.pass(9 * time.Minute)
				if n := b.panel.Requests(paneltest.Any) - total; n > 1 { // one may have been under way
					b.log.dump(t)
					t.Errorf("%d calls in the ten minutes that the panel asked for", n)
				}
				b.pass(4 * time.Minute)
				if n := b.panel.Requests(paneltest.Any) - total; n < 4 || b.panel.Total().Up != 100 {
					t.Errorf("%d calls after it, %d bytes billed", n, b.panel.Total().Up)
				}
			})
		})
	}
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

// TestDevicesElsewhere: addresses on another machine's node count against the limit of a new one here.
func TestDevicesElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		b.panel.SetNode(paneltest.Node{ID: 9, Protocol: "vless", Port: 1}) // the other machine's
		b.panel.SetUser(paneltest.User{ID: 1, DeviceLimit: 2})
		b.start()
		defer b.stop()
		req := httptest.NewRequest(http.MethodPost, "/api/v2/server/alive?token="+token+"&node_id=9", strings.NewReader(`{"1":["198.51.100.1","198.51.100.2"]}`))
		b.panel.ServeHTTP(httptest.NewRecorder(), req)
		open := func() error {
			l, err := b.host.users(tag1)[1].Meter.Open(t.Context(), netip.MustParseAddr("192.0.2.1"), nil)
			if err == nil {
				l.Close()
			}
			return err
		}
		b.sync()
		if err := open(); !errors.Is(err, adapter.ErrLimited) {
			t.Errorf("err = %v, want a limit", err)
		}
		b.panel.Fail(paneltest.AliveList, paneltest.BadGateway(), -1)
		b.sync()
		if err := open(); err != nil {
			t.Errorf("the panel cannot be asked: %v", err)
		}
		if b.log.count("IP limits count this machine's connections alone") != 1 {
			t.Error("the operator was not told once")
		}
	})
}

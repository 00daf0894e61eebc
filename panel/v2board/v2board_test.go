package v2board

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"heki/constant"
	"heki/internal/meter"
	"heki/option"
	"heki/panel"
	"heki/panel/paneltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	token = "secret-token-0123456789"
	uuid1 = "b831381d-6324-4d53-ad4f-8cda48b30811"
)

// world is a panel and what its clients said.
type world struct {
	*paneltest.Server
	now  time.Time
	said []string
}

func newWorld(t *testing.T, p *paneltest.Panel) *world {
	t.Helper()
	server, err := paneltest.Start(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	server.SetUser(paneltest.User{ID: 1, UUID: uuid1})
	server.SetUser(paneltest.User{ID: 2, UUID: "5ad8bb1b-1d1c-4d3c-9a77-0f6a0c3d7f10", SpeedMbps: 100, DeviceLimit: 3})
	return &world{Server: server, now: time.Unix(1_700_000_000, 0)}
}

func (w *world) client(t *testing.T, kind panel.Kind, o option.Panel, node option.PanelNode) (panel.Client, error) {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	o.URL = w.URL + "/"
	if o.Key == "" {
		o.Key = token
	}
	return kind.New(panel.Env{
		Tag: "panel/main/1", Now: func() time.Time { return w.now }, HTTP: &http.Client{Transport: transport},
		Say: func(_ slog.Level, format string, args ...any) { w.said = append(w.said, fmt.Sprintf(format, args...)) },
	}, &o, &node)
}

func (w *world) must(t *testing.T, kind panel.Kind, o option.Panel, node option.PanelNode) panel.Client {
	t.Helper()
	c, err := w.client(t, kind, o, node)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ctxOf(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestTypes: a node is found by its number and type, and its type when only one table has the number.
func TestTypes(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(string) *paneltest.Panel
		kind panel.Kind
		id   int64
		typ  string
		want string // protocol and port
		err  string
	}{
		{"v2board, given", paneltest.NewV2board, Kind(), 1, "trojan", "trojan 2001", ""},
		{"v2board, found", paneltest.NewV2board, Kind(), 2, "", "vmess 1002", ""},
		{"v2board, two", paneltest.NewV2board, Kind(), 1, "", "", "node 1 is in the panel's tables of vmess and trojan"},
		{"v2board, none", paneltest.NewV2board, Kind(), 9, "", "", "server is not exist"},
		{"v2board, wrong", paneltest.NewV2board, Kind(), 2, "trojan", "", "server is not exist"},
		{"xiaov2board, given", paneltest.NewXiaoV2board, XiaoKind(), 1, "vless", "vless 3001", ""},
		{"xiaov2board, found", paneltest.NewXiaoV2board, XiaoKind(), 2, "", "vmess 1002", ""},
		{"xiaov2board, two", paneltest.NewXiaoV2board, XiaoKind(), 1, "", "", "tables of vmess and vless and trojan"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.make(token))
			w.SetNode(paneltest.Node{ID: 11, Code: "1", Protocol: "vmess", Port: 1001})
			w.SetNode(paneltest.Node{ID: 12, Code: "2", Protocol: "vmess", Port: 1002, Network: "ws", Path: "/x"})
			w.SetNode(paneltest.Node{ID: 13, Code: "1", Protocol: "trojan", Port: 2001})
			w.SetNode(paneltest.Node{ID: 14, Code: "1", Protocol: "vless", Port: 3001})
			c := w.must(t, tt.kind, option.Panel{}, option.PanelNode{ID: tt.id, Type: tt.typ})
			n, err := c.Node(ctxOf(t))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("err = %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(n.Protocol, " ", n.Port); got != tt.want {
				t.Errorf("node = %s, want %s", got, tt.want)
			}
			users, err := c.Users(ctxOf(t))
			if err != nil || len(users) != 2 || users[1].SpeedBytes != 12_500_000 {
				t.Errorf("users = %+v, %v", users, err)
			}
			if _, err := c.Node(ctxOf(t)); tt.typ != "" && !errors.Is(err, panel.ErrNotModified) || tt.typ == "" && err != nil {
				t.Errorf("again: %v", err)
			}
			if _, err := c.Node(ctxOf(t)); !errors.Is(err, panel.ErrNotModified) {
				t.Errorf("a third time: %v", err)
			}
			if found := len(w.said) == 1; found != (tt.typ == "") {
				t.Errorf("said %q", w.said)
			}
		})
	}
}

func TestRefusedTypes(t *testing.T) {
	w := newWorld(t, paneltest.NewV2board(token))
	_, err := w.client(t, Kind(), option.Panel{}, option.PanelNode{ID: 1, Type: "vless"})
	if err == nil || !strings.Contains(err.Error(), `v2board has no nodes of type "vless"`) {
		t.Errorf("err = %v", err)
	}
	if _, err := w.client(t, XiaoKind(), option.Panel{APIVersion: 3}, option.PanelNode{ID: 1}); err == nil {
		t.Error("version 3 was taken")
	}
}

// TestOldVMess: before 1.7.3 the panel knows v2ray only.
func TestOldVMess(t *testing.T) {
	w := newWorld(t, paneltest.NewV2board(token))
	w.SetNode(paneltest.Node{ID: 4, Protocol: "vmess", Port: 1004})
	w.RefuseType("vmess")
	for _, typ := range []string{"", constant.TypeVMess} {
		c := w.must(t, Kind(), option.Panel{}, option.PanelNode{ID: 4, Type: typ})
		n, err := c.Node(ctxOf(t))
		if err != nil || n.Port != 1004 {
			t.Fatalf("%+v, %v", n, err)
		}
		if users, err := c.Users(ctxOf(t)); err != nil || len(users) != 2 {
			t.Errorf("%+v, %v", users, err)
		}
	}
}

// TestVersion2: one table, and a validator that must come back without its quotes.
func TestVersion2(t *testing.T) {
	w := newWorld(t, paneltest.NewXiaoV2board(token))
	w.SetNode(paneltest.Node{ID: 5, Code: "1", Protocol: "anytls", Port: 8443, TLS: 1, ServerName: "a.example.com", Padding: []string{"stop=2", "0=30-30"}})
	c := w.must(t, XiaoKind(), option.Panel{APIVersion: 2}, option.PanelNode{ID: 5})
	n, err := c.Node(ctxOf(t))
	if err != nil && !strings.Contains(err.Error(), "does not serve") {
		t.Fatalf("%+v, %v", n, err)
	}
	if users, err := c.Users(ctxOf(t)); err != nil || len(users) != 2 || users[1].IPLimit != 3 {
		t.Errorf("%+v, %v", users, err)
	}
	w.SetNode(paneltest.Node{ID: 5, Protocol: "vless", Port: 8443})
	for _, want := range []error{nil, panel.ErrNotModified} {
		if _, err := c.Node(ctxOf(t)); !errors.Is(err, want) {
			t.Errorf("err = %v, want %v", err, want)
		}
	}
	if got := w.NotModified(paneltest.Config); got != 1 {
		t.Errorf("%d answers were 304, want 1: the hash of the body must not be what tells", got)
	}
	bad := w.must(t, XiaoKind(), option.Panel{APIVersion: 2, Key: "wrong"}, option.PanelNode{ID: 5})
	_, err = bad.Node(ctxOf(t))
	checkClass(t, err, panel.Refused, "token is error")
}

// TestReports: bytes and addresses arrive, and an idle node shows that it lives.
func TestReports(t *testing.T) {
	for _, xiao := range []bool{false, true} {
		t.Run(fmt.Sprintf("xiao=%t", xiao), func(t *testing.T) {
			p, kind := paneltest.NewV2board(token), Kind()
			if xiao {
				p, kind = paneltest.NewXiaoV2board(token), XiaoKind()
			}
			w := newWorld(t, p)
			w.SetNode(paneltest.Node{ID: 3, Protocol: "vmess", Port: 1})
			c := w.must(t, kind, option.Panel{}, option.PanelNode{ID: 3, Type: "vmess"})
			if err := c.ReportTraffic(ctxOf(t), []meter.Traffic{{ID: 1, Up: 5, Down: 6}, {ID: 2}}); err != nil {
				t.Fatal(err)
			}
			if got := w.Traffic(3, 1); got != (paneltest.Traffic{Up: 5, Down: 6}) {
				t.Errorf("traffic = %+v", got)
			}
			online := []meter.Online{{ID: 1, IPs: []netip.Addr{netip.MustParseAddr("203.0.113.7")}}}
			if err := c.ReportOnline(ctxOf(t), online); err != nil {
				t.Fatal(err)
			}
			if got := w.Alive(3, 1); (len(got) == 1) != xiao {
				t.Errorf("alive = %q", got)
			}
			before := w.Requests(paneltest.PushCall)
			w.now = w.now.Add(5 * time.Minute)
			for range 2 { // once is enough
				if err := c.ReportOnline(ctxOf(t), nil); err != nil {
					t.Fatal(err)
				}
			}
			if got := w.Requests(paneltest.PushCall); got != before+1 {
				t.Errorf("%d pushes after a quiet while, want %d", got, before+1)
			}
		})
	}
}

// TestRefusals: status 500 leaves it open whether a report was billed, unless the panel says that it
// never came so far.
func TestRefusals(t *testing.T) {
	w := newWorld(t, paneltest.NewV2board(token))
	w.SetNode(paneltest.Node{ID: 3, Protocol: "vmess", Port: 1})
	report := []meter.Traffic{{ID: 1, Up: 1}}
	c := w.must(t, Kind(), option.Panel{}, option.PanelNode{ID: 3, Type: "vmess"})
	w.Fail(paneltest.PushCall, paneltest.ServerError(true), 1)
	checkClass(t, c.ReportTraffic(ctxOf(t), report), panel.Unclear, "Uh-oh")
	bad := w.must(t, Kind(), option.Panel{Key: "wrong-token"}, option.PanelNode{ID: 3, Type: "vmess"})
	checkClass(t, bad.ReportTraffic(ctxOf(t), report), panel.Refused, "500 Internal Server Error: token is error")
	gone := w.must(t, Kind(), option.Panel{}, option.PanelNode{ID: 9, Type: "vmess"})
	checkClass(t, gone.ReportTraffic(ctxOf(t), report), panel.Refused, notHere)
}

func checkClass(t *testing.T, err error, want panel.Class, text string) {
	t.Helper()
	var e *panel.Error
	if !errors.As(err, &e) || e.Class != want || !strings.Contains(err.Error(), text) {
		t.Errorf("err = %v, want class %s and %q", err, want, text)
	}
}

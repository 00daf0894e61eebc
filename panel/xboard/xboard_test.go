package xboard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"heki/internal/meter"
	"heki/option"
	"heki/panel"
	"heki/panel/machine"
	"heki/panel/paneltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const uuid1 = "b831381d-6324-4d53-ad4f-8cda48b30811"

// world is a client and the panel it talks to.
type world struct {
	*Client
	panel *paneltest.Server
	said  []string
}

func newWorld(t *testing.T, version int) *world {
	t.Helper()
	server, err := paneltest.Start(paneltest.New("secret-token-0123456789"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{panel: server}
	w.Client = w.client(t, server.URL+"/", version)
	t.Cleanup(server.Close)
	server.SetNode(paneltest.Node{ID: 3, Protocol: "vless", Port: 443, Network: "ws", Path: "/täglich/x", Host: "v.example.com", TLS: 1, ServerName: "v.example.com"})
	return w
}

func (w *world) client(t *testing.T, url string, version int) *Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	env := panel.Env{
		Tag: "panel/main/3", Now: time.Now,
		Long: &http.Client{Transport: transport},
		HTTP: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Say:  func(_ slog.Level, format string, args ...any) { w.said = append(w.said, fmt.Sprintf(format, args...)) },
	}
	c, err := New(env, &option.Panel{URL: url, Key: "secret-token-0123456789", APIVersion: version}, &option.PanelNode{ID: 3, Type: "vless"})
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

func TestPullBothVersions(t *testing.T) {
	for _, version := range []int{1, 2} {
		for _, gzip := range []bool{false, true} {
			t.Run(fmt.Sprintf("v%d gzip=%t", version, gzip), func(t *testing.T) {
				w := newWorld(t, version)
				if gzip {
					w.panel.EnableGzip()
				}
				w.panel.SetUser(paneltest.User{ID: 1, UUID: uuid1})
				w.panel.SetUser(paneltest.User{ID: 2, UUID: "5ad8bb1b-1d1c-4d3c-9a77-0f6a0c3d7f10", SpeedMbps: 100, DeviceLimit: 3})
				ctx := ctxOf(t)
				n, err := w.Node(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if n.Protocol != "vless" || n.Port != 443 || n.Network != "ws" || n.Path != "/täglich/x" || n.Host != "v.example.com" || n.TLS != panel.TLSOn || n.ServerName != "v.example.com" || n.Pull != time.Minute {
					t.Errorf("node = %+v", n)
				}
				users, err := w.Users(ctx)
				if err != nil || len(users) != 2 {
					t.Fatalf("users = %v, %v", users, err)
				}
				u := users[1]
				if u.ID != 2 || u.Name != "2" || u.Password != "5ad8bb1b-1d1c-4d3c-9a77-0f6a0c3d7f10" || u.UUID[0] != 0x5a || u.SpeedBytes != 12_500_000 || u.IPLimit != 3 {
					t.Errorf("user = %+v", u)
				}
				if _, err := w.Node(ctx); !errors.Is(err, panel.ErrNotModified) {
					t.Errorf("second node: %v", err)
				}
				if _, err := w.Users(ctx); !errors.Is(err, panel.ErrNotModified) {
					t.Errorf("second users: %v", err)
				}
				w.panel.Rekey(1)
				if users, err = w.Users(ctx); err != nil || len(users) != 2 {
					t.Errorf("after rekey: %v, %v", users, err)
				}
			})
		}
	}
}

// The validator must not need an ETag: proxies drop them.
func TestBodyHash(t *testing.T) {
	body := `{"users":[{"id":1,"uuid":"` + uuid1 + `"}]}`
	w := &world{}
	c := w.client(t, serve(t, func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, body) }), 2)
	if _, err := c.Users(ctxOf(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Users(ctxOf(t)); !errors.Is(err, panel.ErrNotModified) {
		t.Errorf("err = %v, want not modified", err)
	}
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestFallBackToV1(t *testing.T) {
	w := newWorld(t, 2)
	w.panel.DisableV2()
	w.panel.SetUser(paneltest.User{ID: 1})
	for range 2 {
		if _, err := w.Node(ctxOf(t)); err != nil && !errors.Is(err, panel.ErrNotModified) {
			t.Fatal(err)
		}
	}
	if _, err := w.Users(ctxOf(t)); err != nil {
		t.Fatal(err)
	}
	if err := w.ReportTraffic(ctxOf(t), []meter.Traffic{{ID: 1, Up: 5, Down: 6}}); err != nil {
		t.Fatal(err)
	}
	if got := w.panel.Traffic(3, 1); got != (paneltest.Traffic{Up: 5, Down: 6}) {
		t.Errorf("traffic = %+v", got)
	}
	if len(w.said) != 1 || !strings.Contains(w.said[0], "version 1") {
		t.Errorf("said %q", w.said)
	}
}

func TestReports(t *testing.T) {
	w := newWorld(t, 2)
	ctx := ctxOf(t)
	if err := w.ReportTraffic(ctx, []meter.Traffic{{ID: 1, Up: 1, Down: 2}, {ID: 0, Name: "static", Up: 9}, {ID: 7, Down: 1 << 40}, {ID: 8}}); err != nil {
		t.Fatal(err)
	}
	if p := w.panel.Pushes(); len(p) != 1 || len(p[0].Users) != 2 || p[0].Users[7].Down != 1<<40 {
		t.Errorf("pushes = %+v", p)
	}
	if err := w.ReportTraffic(ctx, nil); err != nil || w.panel.Requests(paneltest.PushCall) != 1 {
		t.Errorf("an empty report was sent, or %v", err)
	}
	ip4, ip6 := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::1")
	if err := w.ReportOnline(ctx, []meter.Online{{ID: 1, IPs: []netip.Addr{ip4, ip6}}, {ID: 2, IPs: []netip.Addr{ip4}}}); err != nil {
		t.Fatal(err)
	}
	if got := w.panel.Alive(3, 1); len(got) != 2 || got[0] != "2001:db8::1" {
		t.Errorf("alive = %q", got)
	}
	w.panel.Fail(paneltest.AliveCall, paneltest.BadGateway(), 1)
	if err := w.ReportOnline(ctx, []meter.Online{{ID: 3, IPs: []netip.Addr{ip4}}}); err == nil {
		t.Error("502 is no error")
	}
	if err := w.ReportOnline(ctx, nil); err != nil {
		t.Fatal(err)
	}
	for id := 1; id <= 3; id++ {
		if got := w.panel.Alive(3, id); len(got) != 0 {
			t.Errorf("user %d left, alive = %q", id, got)
		}
	}
	n := w.panel.Requests(paneltest.AliveCall)
	if err := w.ReportOnline(ctx, nil); err != nil || w.panel.Requests(paneltest.AliveCall) != n {
		t.Errorf("nobody online twice was sent again, or %v", err)
	}
}

// TestDevices: the counts are over all nodes, and nobody online is an empty list.
func TestDevices(t *testing.T) {
	w := newWorld(t, 2)
	w.panel.SetUser(paneltest.User{ID: 1, DeviceLimit: 2})
	if got, err := w.Devices(ctxOf(t)); err != nil || len(got) != 0 {
		t.Errorf("nobody: %v, %v", got, err)
	}
	ips := []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::1")}
	if err := w.ReportOnline(ctxOf(t), []meter.Online{{ID: 1, IPs: ips}}); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Devices(ctxOf(t)); err != nil || got[1] != 2 || len(got) != 1 {
		t.Errorf("two: %v, %v", got, err)
	}
	w.panel.Fail(paneltest.AliveList, paneltest.Garbage(), 1)
	if _, err := w.Devices(ctxOf(t)); err == nil {
		t.Error("garbage was taken")
	}
}

// TestWatch: events wake the node, pings are answered, a panel that does not push says so.
func TestWatch(t *testing.T) {
	w := newWorld(t, 2)
	if err := w.Watch(ctxOf(t), func(panel.News) {}); !errors.Is(err, panel.ErrNoPush) {
		t.Errorf("err = %v, want no push", err)
	}
	w.panel.EnablePush(w.panel.URL)
	ctx, cancel := context.WithCancel(ctxOf(t))
	woken, ended := make(chan struct{}, 10), make(chan error, 1)
	go func() { ended <- w.Watch(ctx, func(panel.News) { woken <- struct{}{} }) }()
	<-woken // at once: something may have been missed
	for _, event := range []string{"ping", "sync.users", "something.new", "sync.config"} {
		w.panel.Tell(event)
	}
	<-woken
	<-woken
	for w.panel.Pongs() == 0 && ctx.Err() == nil {
		runtime.Gosched()
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("no error when cut")
	}
	if w.panel.Pongs() != 1 || len(woken) != 0 {
		t.Errorf("%d pongs, woken %d times too often", w.panel.Pongs(), len(woken))
	}
	w.panel.Down()
	if err := w.Watch(ctxOf(t), func(panel.News) {}); err == nil || strings.Contains(err.Error(), "secret-token") {
		t.Errorf("err = %v", err)
	}
}

// TestStatus: the panel takes the state, and one without the call is asked once.
func TestStatus(t *testing.T) {
	w := newWorld(t, 2)
	state := machine.New(t.TempDir()).State(t.Context(), time.Now())
	for range 2 {
		if err := w.ReportStatus(ctxOf(t), state); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.panel.Loads(3); got != 2 {
		t.Errorf("%d states arrived, want 2", got)
	}
}

// TestClasses: every fault is of the class that decides over the bytes, and no error shows the token.
func TestClasses(t *testing.T) {
	for _, tt := range []struct {
		fault paneltest.Fault
		class panel.Class
		text  string
	}{
		{paneltest.Reset(false), panel.Unclear, ""},
		{paneltest.Reset(true), panel.Unclear, ""},
		{paneltest.Hang(false), panel.Unclear, "timeout"},
		{paneltest.Hang(true), panel.Unclear, "timeout"},
		{paneltest.BadGateway(), panel.Unclear, "502 Bad Gateway"},
		{paneltest.ServerError(true), panel.Unclear, "Uh-oh"},
		{paneltest.CutBody(), panel.Unclear, "unexpected EOF"},
		{paneltest.Garbage(), panel.Unclear, "answer"},
		{paneltest.NotModified(), panel.Unclear, ""},
		{paneltest.TooMany(7 * time.Second), panel.Refused, "429"},
		{paneltest.Failure(), panel.Refused, "Server is busy"},
		{paneltest.Forbidden(), panel.Refused, "403"},
	} {
		t.Run(tt.fault.String(), func(t *testing.T) {
			w := newWorld(t, 2)
			w.panel.Fail(paneltest.Any, tt.fault, -1)
			soon := func() context.Context {
				wait := time.Minute
				if tt.text == "timeout" {
					wait = time.Second
				}
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				t.Cleanup(cancel)
				return ctx
			}
			err := w.ReportTraffic(soon(), []meter.Traffic{{ID: 1, Up: 1}})
			checkClass(t, err, tt.class, tt.text)
			if applied := w.panel.Traffic(3, 1).Up == 1; applied != tt.fault.Applied() {
				t.Errorf("applied = %t", applied)
			}
			var e *panel.Error
			if tt.fault.String() == "429" && (!errors.As(err, &e) || e.After != 7*time.Second) {
				t.Errorf("Retry-After is lost: %+v", e)
			}
			_, err = w.Node(soon())
			checkClass(t, err, tt.class, "")
			_, err = w.Users(soon())
			checkClass(t, err, tt.class, "")
		})
	}
}

func TestOtherFailures(t *testing.T) {
	t.Run("refused connection", func(t *testing.T) {
		w := newWorld(t, 2)
		w.panel.Down()
		checkClass(t, w.ReportTraffic(ctxOf(t), []meter.Traffic{{ID: 1, Up: 1}}), panel.Unreachable, "connection refused")
	})
	t.Run("TLS", func(t *testing.T) {
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
		s.StartTLS()
		t.Cleanup(s.Close)
		w := &world{}
		c := w.client(t, s.URL, 2)
		checkClass(t, c.ReportTraffic(ctxOf(t), []meter.Traffic{{ID: 1, Up: 1}}), panel.Unreachable, "certificate")
	})
	t.Run("redirect", func(t *testing.T) {
		w := &world{}
		c := w.client(t, serve(t, func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "https://other.example.org"+r.URL.String(), http.StatusMovedPermanently)
		}), 2)
		checkClass(t, c.ReportTraffic(ctxOf(t), []meter.Traffic{{ID: 1, Up: 1}}), panel.Refused, "https://other.example.org")
	})
	t.Run("token", func(t *testing.T) {
		w := newWorld(t, 2)
		w.Query.Set("token", "wrong")
		_, err := w.Node(ctxOf(t))
		checkClass(t, err, panel.Refused, "422 Unprocessable Entity: Invalid token")
	})
	t.Run("unknown node", func(t *testing.T) {
		w := newWorld(t, 1)
		w.Query.Set("node_id", "77")
		_, err := w.Node(ctxOf(t))
		checkClass(t, err, panel.Refused, "400 Bad Request: Server does not exist")
	})
}

func checkClass(t *testing.T, err error, want panel.Class, text string) {
	t.Helper()
	var e *panel.Error
	if !errors.As(err, &e) {
		t.Fatalf("err = %v, want a panel.Error", err)
	}
	if e.Class != want {
		t.Errorf("class = %s, want %s (%v)", e.Class, want, err)
	}
	if !strings.Contains(err.Error(), text) {
		t.Errorf("err = %v, want %q in it", err, text)
	}
	if strings.Contains(err.Error(), "secret-token") {
		t.Errorf("the token is in the error: %v", err)
	}
}

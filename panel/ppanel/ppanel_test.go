package ppanel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
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

const (
	key   = "secret-key-0123456789"
	uuid1 = "b831381d-6324-4d53-ad4f-8cda48b30811"
	uuid2 = "5ad8bb1b-1d1c-4d3c-9a77-0f6a0c3d7f10"
)

// world is a panel and what its clients said.
type world struct {
	*paneltest.Server
	said []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	server, err := paneltest.Start(paneltest.NewPPanel(key))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	server.SetUser(paneltest.User{ID: 5, UUID: uuid1})
	server.SetUser(paneltest.User{ID: 6, UUID: uuid2, SpeedMbps: 100, DeviceLimit: 3})
	return &world{Server: server}
}

func (w *world) client(t *testing.T, key string, node option.PanelNode) *Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := New(panel.Env{
		Now: time.Now, HTTP: &http.Client{Transport: transport},
		Say: func(_ slog.Level, format string, args ...any) { w.said = append(w.said, fmt.Sprintf(format, args...)) },
	}, &option.Panel{URL: w.URL + "/", Key: key}, &node)
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

func checkClass(t *testing.T, err error, want panel.Class, text string) {
	t.Helper()
	var e *panel.Error
	if !errors.As(err, &e) || e.Class != want || !strings.Contains(err.Error(), text) {
		t.Errorf("err = %v, want class %s and %q", err, want, text)
	}
	if strings.Contains(fmt.Sprint(err), key) {
		t.Errorf("err = %v shows the key", err)
	}
}

// TestPick: a server has several protocols under one number; the type says which is meant, and may be left
// out where there is one.
func TestPick(t *testing.T) {
	for _, tt := range []struct {
		name string
		id   int64
		kind string
		want string // protocol and port
		err  string
	}{
		{"given", 1, "trojan", "trojan 2001", ""},
		{"another", 1, "hysteria2", "hysteria2 3001", ""},
		{"the only one", 2, "", "vmess 1002", ""},
		{"one of several", 1, "", "", `server 1 has several protocols: write "type" into its entry, one of hysteria2, trojan, vmess`},
		{"not there", 2, "vless", "", "server 2 has no enabled protocol vless; it has vmess"},
		{"twice", 3, "vless", "", "server 3 has vless twice"},
		{"none", 4, "", "", "server 4 has no enabled protocol"},
		{"no server", 9, "", "", "code 10001: Database query error"},
		{"not ours", 5, "", "", "node 5 is tuic, which this version does not serve"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			for _, row := range []paneltest.Node{
				{ID: 11, Code: "1", Protocol: "vmess", Port: 1001},
				{ID: 12, Code: "1", Protocol: "trojan", Port: 2001, TLS: 1},
				{ID: 13, Code: "1", Protocol: "hysteria2", Port: 3001, TLS: 1},
				{ID: 14, Code: "1", Protocol: "vless", Port: 4001, Disabled: true},
				{ID: 2, Protocol: "vmess", Port: 1002, Network: "ws", Path: "/x"},
				{ID: 15, Code: "3", Protocol: "vless", Port: 5001},
				{ID: 16, Code: "3", Protocol: "vless", Port: 5002},
				{ID: 4, Protocol: "vless", Port: 6001, Disabled: true},
				{ID: 5, Protocol: "tuic", Port: 7001, TLS: 1},
			} {
				w.SetNode(row)
			}
			c := w.client(t, key, option.PanelNode{ID: tt.id, Type: tt.kind})
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
			if err != nil || len(users) != 2 || users[1].SpeedBytes != 12_500_000 || users[1].IPLimit != 3 || users[0].Password != uuid1 {
				t.Errorf("users = %+v, %v", users, err)
			}
			_, errNode := c.Node(ctxOf(t))
			_, errUsers := c.Users(ctxOf(t))
			if !errors.Is(errNode, panel.ErrNotModified) || !errors.Is(errUsers, panel.ErrNotModified) {
				t.Errorf("again: %v, %v", errNode, errUsers)
			}
			if a, b := w.NotModified(paneltest.Config), w.NotModified(paneltest.Users); a != 1 || b != 1 {
				t.Errorf("%d and %d answers were 304, want 1 each: the hash of the body must not be what tells", a, b)
			}
		})
	}
}

func TestTypes(t *testing.T) {
	_, err := New(panel.Env{}, &option.Panel{URL: "https://panel.test"}, &option.PanelNode{ID: 1, Type: "shadowsocksr"})
	if err == nil || !strings.Contains(err.Error(), `ppanel has no nodes of type "shadowsocksr"; it has vless, vmess`) {
		t.Errorf("err = %v", err)
	}
	if _, err := New(panel.Env{}, &option.Panel{URL: "panel.test"}, &option.PanelNode{ID: 1}); err == nil {
		t.Error("an address without a scheme was taken")
	}
}

// TestUnknown: before the protocol is known nothing is sent, so nothing is in doubt.
func TestUnknown(t *testing.T) {
	w := newWorld(t)
	c := w.client(t, key, option.PanelNode{ID: 1})
	if _, err := c.Users(ctxOf(t)); err == nil {
		t.Error("users were asked for")
	}
	checkClass(t, c.ReportTraffic(ctxOf(t), []meter.Traffic{{ID: 5, Up: 1}}), panel.Unreachable, "not known yet")
	if got := w.Requests(paneltest.Any); got != 0 {
		t.Errorf("%d requests, want none", got)
	}
}

// TestNobody: a lone user 1 after others may be the one whom the panel makes up, and is believed the second
// time.
func TestNobody(t *testing.T) {
	w := newWorld(t)
	w.SetNode(paneltest.Node{ID: 1, Protocol: "vmess", Port: 1})
	c := w.client(t, key, option.PanelNode{ID: 1, Type: "vmess"})
	for i, tt := range []struct {
		users []paneltest.User
		err   error
		want  int64 // the first user
		said  int
	}{
		{nil, nil, 1, 0}, // a new panel
		{[]paneltest.User{{ID: 5, UUID: uuid1}, {ID: 6, UUID: uuid2}}, nil, 5, 0},
		{nil, panel.ErrNotModified, 0, 1},
		{[]paneltest.User{{ID: 6, UUID: uuid2}}, nil, 6, 1},
		{nil, panel.ErrNotModified, 0, 2},
		{nil, nil, 1, 2},
		{nil, panel.ErrNotModified, 0, 2},
		{[]paneltest.User{{ID: 1, UUID: uuid1}}, nil, 1, 2},
	} {
		w.SetUsers(tt.users)
		users, err := c.Users(ctxOf(t))
		if !errors.Is(err, tt.err) || err == nil && (len(users) == 0 || users[0].ID != tt.want) {
			t.Errorf("step %d: %+v, %v", i, users, err)
		}
		if len(w.said) != tt.said {
			t.Errorf("step %d: said %q", i, w.said)
		}
	}
}

// TestReports: bytes, addresses and the machine's state arrive; an empty list is not sent.
func TestReports(t *testing.T) {
	w := newWorld(t)
	w.SetCommon(paneltest.Common{Threshold: 10})
	w.SetNode(paneltest.Node{ID: 3, Protocol: "hysteria2", Port: 1, TLS: 1})
	c := w.client(t, key, option.PanelNode{ID: 3, Type: "hysteria2"})
	if err := c.ReportTraffic(ctxOf(t), []meter.Traffic{{ID: 5, Up: 5, Down: 6}, {ID: 6}, {ID: 0, Up: 9}, {ID: 7, Up: 1}}); err != nil {
		t.Fatal(err)
	}
	if got := w.TrafficOf(3); len(got) != 1 || got[5] != (paneltest.Traffic{Up: 5, Down: 6}) {
		t.Errorf("traffic = %+v", got)
	}
	online := []meter.Online{{ID: 5, IPs: []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::1")}}, {ID: 0}}
	if err := c.ReportOnline(ctxOf(t), online); err != nil {
		t.Fatal(err)
	}
	if got := w.Alive(3, 5); len(got) != 2 {
		t.Errorf("alive = %q", got)
	}
	before := w.Requests(paneltest.Any)
	if err := errors.Join(c.ReportOnline(ctxOf(t), nil), c.ReportTraffic(ctxOf(t), nil)); err != nil || w.Requests(paneltest.Any) != before {
		t.Errorf("%v, and %d calls for nothing", err, w.Requests(paneltest.Any)-before)
	}
	state := machine.State{CPU: 12.5, Memory: machine.Usage{Total: 200, Used: 50}}
	if err := c.ReportStatus(ctxOf(t), state); err != nil || w.Loads(3) != 1 {
		t.Errorf("%v, %d reports", err, w.Loads(3))
	}
	n, err := c.Node(ctxOf(t))
	if err != nil || n.Floor != 11 || n.Push != time.Minute || n.Pull != time.Minute {
		t.Errorf("%+v, %v", n, err)
	}
}

// TestFailures: what of a failed report may have been billed.
func TestFailures(t *testing.T) {
	report := []meter.Traffic{{ID: 5, Up: 1}}
	for _, tt := range []struct {
		fault paneltest.Fault
		class panel.Class
		text  string
	}{
		{paneltest.CodeFailure(), panel.Refused, "code 500: Internal Server Error"},
		{paneltest.ServerError(true), panel.Unclear, "500 Internal Server Error"},
		{paneltest.BadGateway(), panel.Unclear, "502 Bad Gateway"},
		{paneltest.Garbage(), panel.Unclear, "answer: "},
		{paneltest.CutBody(), panel.Unclear, "read the answer"},
		{paneltest.Reset(true), panel.Unclear, "reset"},
		{paneltest.Failure(), panel.Unclear, "code is missing"}, // another panel's words
		{paneltest.Forbidden(), panel.Refused, "403 Forbidden"},
		{paneltest.TooMany(time.Minute), panel.Refused, "429"},
	} {
		t.Run(tt.fault.String(), func(t *testing.T) {
			w := newWorld(t)
			w.SetNode(paneltest.Node{ID: 3, Protocol: "vmess", Port: 1})
			c := w.client(t, key, option.PanelNode{ID: 3, Type: "vmess"})
			w.Fail(paneltest.PushCall, tt.fault, 1)
			checkClass(t, c.ReportTraffic(ctxOf(t), report), tt.class, tt.text)
			if err := c.ReportTraffic(ctxOf(t), report); err != nil {
				t.Errorf("healed: %v", err)
			}
			want := int64(1)
			if tt.fault.Applied() {
				want = 2
			}
			if got := w.Traffic(3, 5).Up; got != want {
				t.Errorf("the panel has %d bytes, want %d", got, want)
			}
			w.Fail(paneltest.Config, tt.fault, -1) // a GET on a connection that was cut is asked again
			_, err := c.Node(ctxOf(t))
			checkClass(t, err, tt.class, tt.text)
		})
	}
	w := newWorld(t)
	w.SetNode(paneltest.Node{ID: 3, Protocol: "vmess", Port: 1})
	bad := w.client(t, "another key", option.PanelNode{ID: 3, Type: "vmess"})
	_, errNode := bad.Node(ctxOf(t))
	_, errUsers := bad.Users(ctxOf(t))
	checkClass(t, errNode, panel.Refused, "401 Unauthorized")
	checkClass(t, errUsers, panel.Refused, "403 Forbidden")
	checkClass(t, bad.ReportTraffic(ctxOf(t), report), panel.Refused, "403 Forbidden")
	gone := w.client(t, key, option.PanelNode{ID: 9, Type: "vmess"})
	_, errUsers = gone.Users(ctxOf(t))
	checkClass(t, errUsers, panel.Refused, "404 Not Found")
	checkClass(t, gone.ReportTraffic(ctxOf(t), report), panel.Refused, "code 500: server not found")
}

// TestKeys: users of Shadowsocks 2022 have the first characters of their uuid, and get them when the cipher
// changes although the list does not.
func TestKeys(t *testing.T) {
	w := newWorld(t)
	row := paneltest.Node{ID: 3, Protocol: "shadowsocks", Port: 1, Cipher: "aes-128-gcm"}
	w.SetNode(row)
	c := w.client(t, key, option.PanelNode{ID: 3})
	for cipher, want := range map[string]string{
		"aes-128-gcm": uuid1, "2022-blake3-aes-128-gcm": "YjgzMTM4MWQtNjMyNC00ZA==", "2022-blake3-aes-256-gcm": "YjgzMTM4MWQtNjMyNC00ZDUzLWFkNGYtOGNkYTQ4YjM=",
	} {
		row.Cipher, row.ServerKey = cipher, "MjQ5MjBkZWNmODNmNjk2MA=="
		if strings.Contains(cipher, "256") {
			row.ServerKey = "MjQ5MjBkZWNmODNmNjk2MGI4MGY3MzdhMjhlZWFmYzE="
		}
		w.SetNode(row)
		n, err := c.Node(ctxOf(t))
		if err != nil || strings.HasPrefix(cipher, "2022") && n.ServerKey != row.ServerKey {
			t.Fatalf("%s: %+v, %v", cipher, n, err)
		}
		if users, err := c.Users(ctxOf(t)); err != nil || users[0].Password != want {
			t.Errorf("%s: %+v, %v, want %s", cipher, users, err, want)
		}
	}
}

// TestHop: the panel's ports are for clients; the operator hears where to write them.
func TestHop(t *testing.T) {
	w := newWorld(t)
	body, err := json.Marshal(map[string]any{"code": 200, "data": map[string]any{"protocols": []any{
		map[string]any{"type": "hysteria", "port": 1, "enable": true, "hop_ports": "20000-30000"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	w.SetRawConfig(3, string(body))
	for _, ports := range []string{"", "20000-30000"} {
		node := option.PanelNode{ID: 3}
		if ports != "" {
			node.ListenPorts = option.Listable[string]{ports}
		}
		w.said = nil
		if _, err := w.client(t, key, node).Node(ctxOf(t)); err != nil || len(w.said) == 1 != (ports == "") {
			t.Errorf("%q: %v, said %q", ports, err, w.said)
		}
	}
}

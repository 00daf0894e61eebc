package sspanel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"heki/adapter"
	"heki/internal/meter"
	"heki/option"
	"heki/panel"
	"heki/panel/machine"
	"heki/panel/paneltest"
	"heki/panel/webapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key   = "secret-key-0123456789"
	uuid1 = "b831381d-6324-4d53-ad4f-8cda48b30811"
	uuid2 = "5ad8bb1b-1d1c-4d3c-9a77-0f6a0c3d7f10"
)

type world struct {
	*Client
	panel *paneltest.Server
	said  []string
}

func newWorld(t *testing.T, legacy bool) *world {
	t.Helper()
	server, err := paneltest.Start(paneltest.NewSSPanel(key, legacy))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	w := &world{panel: server}
	w.Client = w.client(t, server.URL+"/", key)
	server.SetUser(paneltest.User{ID: 1, UUID: uuid1})
	server.SetUser(paneltest.User{ID: 12, UUID: uuid2, SpeedMbps: 50, DeviceLimit: 2})
	return w
}

func (w *world) client(t *testing.T, url, key string) *Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := New(panel.Env{
		Tag: "panel/main/3", Now: time.Now, HTTP: &http.Client{Transport: transport},
		Say: func(_ slog.Level, format string, args ...any) { w.said = append(w.said, fmt.Sprintf(format, args...)) },
	}, &option.Panel{URL: url, Key: key}, &option.PanelNode{ID: 3})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve is a client of a panel that answers everything with body.
func serve(t *testing.T, status int, body string) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return new(world).client(t, s.URL, key)
}

func ctxOf(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// The bodies are those of reference/panels.md §2.2, §2.3 and §3.2.
func TestNode(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     panel.Node
		err      string
	}{
		{
			"vmess ws tls", `{"ret":1,"data":{"node_speedlimit":0,"sort":11,"server":"hk.example.com","custom_config":{"offset_port_node":"10443","offset_port_user":"443","network":"ws","security":"tls","host":"hk.example.com","path":"\/ray","header":{"type":"none"}},"type":"SSPanel-UIM","version":"2025.1.0"}}`,
			panel.Node{Protocol: "vmess", Port: 10443, Carrier: panel.Carrier{Network: "ws", Path: "/ray", Host: "hk.example.com"}, TLS: panel.TLSOn, ServerName: "hk.example.com"},
			"",
		},
		{
			"trojan grpc", `{"ret":1,"data":{"node_speedlimit":300,"sort":14,"server":"jp.example.com","custom_config":{"offset_port_node":443,"network":"grpc","servicename":"tj","host":"jp.example.com","allow_insecure":"0"},"type":"My Site","version":"2025.1.0"}}`,
			panel.Node{Protocol: "trojan", Port: 443, Carrier: panel.Carrier{Network: "grpc", Host: "jp.example.com", ServiceName: "tj"}, TLS: panel.TLSOn, ServerName: "jp.example.com"},
			"",
		},
		{
			"vmess with an http header", `{"ret":1,"data":{"node_speedlimit":0,"sort":11,"server":"a","custom_config":{"offset_port_node":80,"network":"tcp","header":{"type":"http","request":{"path":["\/"],"headers":{"Host":["a.com"]}}}}}}`,
			panel.Node{Protocol: "vmess", Port: 80, Carrier: panel.Carrier{Network: "tcp_http_header", Paths: []string{"/"}}},
			"",
		},
		{
			"an address", `{"ret":1,"data":{"node_group":0,"node_class":0,"node_speedlimit":0,"traffic_rate":1,"mu_only":-1,"sort":11,"server":"1.3.5.7;443;0;ws;tls;path=\/v2ray|server=hk.domain.com|host=hk.domain.com","type":"ss-panel-v3-mod_Uim"}}`,
			panel.Node{Protocol: "vmess", Port: 443, Carrier: panel.Carrier{Network: "ws", Path: "/v2ray", Host: "hk.domain.com"}, TLS: panel.TLSOn, ServerName: "hk.domain.com"},
			"",
		},
		{
			"a trojan address", `{"ret":1,"data":{"node_speedlimit":50,"sort":14,"server":"gz.aaa.com;port=443#12345|host=hk.aaa.com"}}`,
			panel.Node{Protocol: "trojan", Port: 12345, TLS: panel.TLSOn, ServerName: "hk.aaa.com"},
			"",
		},
		{
			"shadowsocks 2022", `{"ret":1,"data":{"node_speedlimit":0,"sort":1,"server":"1.2.3.4","custom_config":{"offset_port_node":"20000","method":"2022-blake3-aes-128-gcm","server_key":"MjQ5MjBkZWNmODNmNjk2MA=="},"type":"SSPanel-UIM","version":"2024.1"}}`,
			panel.Node{Protocol: "shadowsocks", Port: 20000, Cipher: "2022-blake3-aes-128-gcm", ServerKey: "MjQ5MjBkZWNmODNmNjk2MA=="},
			"",
		},
		{
			"shadowsocks 2022, its usual cipher", `{"ret":1,"data":{"sort":1,"server":"1.2.3.4","custom_config":{"offset_port_node":20000,"server_key":"MjQ5MjBkZWNmODNmNjk2MA=="}}}`,
			panel.Node{Protocol: "shadowsocks", Port: 20000, Cipher: "2022-blake3-aes-128-gcm", ServerKey: "MjQ5MjBkZWNmODNmNjk2MA=="},
			"",
		},
		{"no port", `{"ret":1,"data":{"sort":11,"server":"a","custom_config":[]}}`, panel.Node{}, "custom_config.offset_port_node is missing"},
		{"a bad port", `{"ret":1,"data":{"sort":11,"server":"a","custom_config":{"offset_port_node":"70000"}}}`, panel.Node{}, "is 70000, must be 1 to 65535"},
		{"tuic", `{"ret":1,"data":{"sort":2,"server":"a","custom_config":{"offset_port_node":"1"}}}`, panel.Node{}, "sort 2"},
		{"security", `{"ret":1,"data":{"sort":11,"server":"a","custom_config":{"offset_port_node":"1","security":"x"}}}`, panel.Node{}, `security is "x"`},
		{"kcp", `{"ret":1,"data":{"sort":11,"server":"1.3.5.7;10000;0;kcp;wechat-video;server=x.com"}}`, panel.Node{}, `network "kcp"`},
		{"not enabled", `{"ret":0,"msg":"Node is not enabled."}`, panel.Node{}, "Node is not enabled."},
		{"old failure", `{"ret":0,"data":"IP is invalid. Now, your IP address is 1.2.3.4"}`, panel.Node{}, "enter this server's address in the node"},
		{"no reason", `{"ret":0}`, panel.Node{}, "gives no reason"},
		{"html", `<html>`, panel.Node{}, "answer"},
		{"another panel", `{"status":"success"}`, panel.Node{}, "ret is missing"},
		{"no data", `{"ret":1}`, panel.Node{}, "data is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, err := serve(t, 200, tt.in).Node(ctxOf(t))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("err = %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(*n, tt.want) {
				t.Errorf("got %+v, %v, want %+v", n, err, tt.want)
			}
		})
	}
}

// TestReality: XrayR's marks. The settings alone are looked at: whether they can be served is Check's.
func TestReality(t *testing.T) {
	var row info
	row.sort, row.custom = sortV2Ray, custom{
		port: 443, vless: true, network: "tcp", security: "none", flow: "xtls-rprx-vision", enabled: true,
		reality: panel.Reality{Server: "www.apple.com", ServerPort: 443, ServerNames: []string{"www.apple.com"}, PrivateKey: "PRIV", ShortIDs: []string{"", "0123abcd"}},
	}
	n, each, err := row.node()
	if err != nil || n.Protocol != "vless" || n.TLS != panel.TLSReality || n.Reality.ShortIDs[1] != "0123abcd" || each.flow != panel.FlowVision {
		t.Errorf("%+v, %+v, %v", n, each, err)
	}
}

// The addresses are those of reference/panels.md §3.7.
func TestAddresses(t *testing.T) {
	type want struct {
		node panel.Node
		err  string
	}
	tcp := panel.Node{Protocol: "vmess", Port: 12345, Carrier: panel.Carrier{Network: "tcp"}}
	for in, w := range map[string]want{
		"1.3.5.7;12345;0;tcp;;server=hk.domain.com":                                             {node: tcp},
		"1.3.5.7;443;0;tcp;tls;server=hk.domain.com|host=hk.domain.com":                         {node: panel.Node{Protocol: "vmess", Port: 443, Carrier: panel.Carrier{Network: "tcp", Host: "hk.domain.com"}, TLS: 1, ServerName: "hk.domain.com"}},
		"1.3.5.7;80;0;ws;;path=/v2ray|server=gz.domain.com|host=hk.domain.com|outside_port=345": {node: panel.Node{Protocol: "vmess", Port: 80, Carrier: panel.Carrier{Network: "ws", Path: "/v2ray", Host: "hk.domain.com"}}},
		"1.3.5.7;34567;0;ws;tls;path=/v2ray|host=hk.domain.com|inside_port=443":                 {node: panel.Node{Protocol: "vmess", Port: 443, Carrier: panel.Carrier{Network: "ws", Path: "/v2ray", Host: "hk.domain.com"}, TLS: 1, ServerName: "hk.domain.com"}},
		"1.3.5.7;443;0;grpc;tls;servicename=abc|host=h":                                         {node: panel.Node{Protocol: "vmess", Port: 443, Carrier: panel.Carrier{Network: "grpc", Host: "h", ServiceName: "abc"}, TLS: 1, ServerName: "h"}},
		"1.3.5.7;443;2;tls;ws;path=/a=b|host=x.com":                                             {node: panel.Node{Protocol: "vmess", Port: 443, AlterID: 2, Carrier: panel.Carrier{Network: "ws", Path: "/a=b", Host: "x.com"}, TLS: 1, ServerName: "x.com"}},
		"1.3.5.7;443;0;h2;tls;path=/h2|host=x.com":                                              {node: panel.Node{Protocol: "vmess", Port: 443, Carrier: panel.Carrier{Network: "h2", Path: "/h2", Host: "x.com"}, TLS: 1, ServerName: "x.com"}},
		"1.3.5.7;0;0;tcp;http":                                                                  {node: panel.Node{Protocol: "vmess", Port: 443, Carrier: panel.Carrier{Network: "tcp_http_header"}}},
		"1.3.5.7;;;;":                                                                           {node: panel.Node{Protocol: "vmess", Port: 443}},
		"1.3.5.7;443;0;tcp;tls;enable_vless=true":                                               {node: panel.Node{Protocol: "vless", Port: 443, Carrier: panel.Carrier{Network: "tcp"}, TLS: 1}},
		"1.3.5.7;x;0;tcp;":                                                                      {err: `port is "x"`},
		"1.3.5.7;1;-1;tcp;":                                                                     {err: `alterId is "-1"`},
	} {
		var got panel.Node
		err := v2rayAddress(&got, in)
		if w.err != "" {
			if err == nil || !strings.Contains(err.Error(), w.err) {
				t.Errorf("%s: err = %v, want %q", in, err, w.err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, w.node) {
			t.Errorf("%s: %+v, %v, want %+v", in, got, err, w.node)
		}
	}
	var grpc panel.Node
	if err := trojanAddress(&grpc, "a.com;grpc=1|servicename=s|port=8443"); err != nil || grpc.Network != "grpc" || grpc.Port != 8443 || grpc.ServerName != "a.com" {
		t.Errorf("%+v, %v", grpc, err)
	}
}

func TestUsers(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		terms    terms
		want     []adapter.Account
		skipped  int
		err      string
	}{
		{
			"vmess", `{"ret":1,"data":[{"id":1,"node_speedlimit":0,"uuid":"` + uuid1 + `"},{"id":12,"node_speedlimit":12.5,"uuid":"` + uuid2 + `","node_connector":2,"alive_ip":"1"}]}`,
			terms{speed: 1_250_000, alterID: 4},
			[]adapter.Account{
				{ID: 1, Name: "1", Password: uuid1, SpeedBytes: 1_250_000, AlterID: 4},
				{ID: 12, Name: "12", Password: uuid2, SpeedBytes: 1_250_000, IPLimit: 2, AlterID: 4},
			},
			0, "",
		},
		{
			"shadowsocks", `{"ret":1,"data":[{"id":12,"node_speedlimit":8,"node_iplimit":3,"method":"aes-256-gcm","port":20012,"passwd":"xk2Lp9Qa","alive_ip":1}]}`,
			terms{passwd: true},
			[]adapter.Account{{ID: 12, Name: "12", Password: "xk2Lp9Qa", SpeedBytes: 1_000_000, IPLimit: 3}},
			0, "",
		},
		{ // reference/panels.md §8: keys come ready, of SHA3-256 since 2024.1 and of SHA-256 before
			"shadowsocks 2022", `{"ret":1,"data":[{"id":1,"passwd":"YzAwNjdkNGFmNGU4N2YwMA=="},{"id":2,"passwd":"YzAwNjdkNGFmNGU4N2YwMGRiYWM2M2I2MTU2ODI4MjM="},{"id":3,"passwd":"NWU4ODQ4OThkYTI4MDQ3MQ=="}]}`,
			terms{passwd: true},
			[]adapter.Account{
				{ID: 1, Name: "1", Password: "YzAwNjdkNGFmNGU4N2YwMA=="},
				{ID: 2, Name: "2", Password: "YzAwNjdkNGFmNGU4N2YwMGRiYWM2M2I2MTU2ODI4MjM="},
				{ID: 3, Name: "3", Password: "NWU4ODQ4OThkYTI4MDQ3MQ=="},
			},
			0, "",
		},
		{"nobody", `{"ret":1,"data":[]}`, terms{}, nil, 0, ""},
		{"null", `{"ret":1,"data":null}`, terms{}, nil, 0, ""},
		{"closed", `{"ret":0,"msg":"Node out of bandwidth."}`, terms{}, nil, 1, ""},
		{"twice and negative", `{"ret":1,"data":[{"id":1,"uuid":"a"},{"id":1,"uuid":"b"},{"id":-4,"uuid":"c"}]}`, terms{}, []adapter.Account{{ID: 1, Name: "1", Password: "a"}}, 2, ""},
		{"no uuid", `{"ret":1,"data":[{"id":1,"passwd":"x"}]}`, terms{}, nil, 0, "[0].uuid is missing (user 1)"},
		{"no passwd", `{"ret":1,"data":[{"id":1,"uuid":"x"}]}`, terms{passwd: true}, nil, 0, "[0].passwd is missing (user 1)"},
		{"refused", `{"ret":0,"msg":"Something else"}`, terms{}, nil, 0, "Something else"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{}
			c := serve(t, 200, tt.in)
			c.each = tt.terms
			c.say = func(_ slog.Level, format string, args ...any) { w.said = append(w.said, fmt.Sprintf(format, args...)) }
			got, err := c.Users(ctxOf(t))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("err = %v, want %q", err, tt.err)
				}
				return
			}
			for i := range got {
				if !tt.terms.passwd && got[i].UUID == ([16]byte{}) {
					t.Errorf("user %d has no uuid", got[i].ID)
				}
				got[i].UUID = [16]byte{}
			}
			if err != nil || !reflect.DeepEqual(got, tt.want) || len(w.said) != tt.skipped {
				t.Errorf("got %+v, said %q, %v", got, w.said, err)
			}
		})
	}
}

// TestPull: both eras, with validators, and every kind of failure.
func TestPull(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		t.Run(fmt.Sprintf("legacy=%t", legacy), func(t *testing.T) {
			w := newWorld(t, legacy)
			w.panel.SetNode(paneltest.Node{ID: 3, Protocol: "vmess", Port: 10443, Network: "ws", Path: "/ray", TLS: 1, ServerName: "v.example.com"})
			for _, want := range []error{nil, panel.ErrNotModified} {
				n, err := w.Node(ctxOf(t))
				if !errors.Is(err, want) || want == nil && (n.Port != 10443 || n.Network != "ws" || n.TLS != panel.TLSOn || n.Path != "/ray" || n.ServerName != "v.example.com") {
					t.Errorf("%+v, %v", n, err)
				}
				users, err := w.Users(ctxOf(t))
				if !errors.Is(err, want) || want == nil && (len(users) != 2 || users[1].SpeedBytes != 6_250_000) {
					t.Errorf("%+v, %v", users, err)
				}
			}
			if got := w.panel.NotModified(paneltest.Config) + w.panel.NotModified(paneltest.Users); got != 2 {
				t.Errorf("%d answers were 304, want 2", got)
			}
			_, err := w.client(t, w.panel.URL, "wrong-key").Node(ctxOf(t))
			checkClass(t, err, panel.Refused, "wrong key")
			w.panel.RemoveNode(3)
			_, err = w.Node(ctxOf(t))
			if legacy { // it gives no reason
				checkClass(t, err, panel.Refused, "")
			} else if users, none := w.Users(ctxOf(t)); !errors.Is(err, panel.ErrNotModified) || len(users) > 0 || none != nil {
				t.Errorf("after the node was removed: %v, %d users, %v", err, len(users), none)
			}
		})
	}
}

func TestReports(t *testing.T) {
	w := newWorld(t, false)
	w.panel.SetNode(paneltest.Node{ID: 3, Protocol: "trojan", Port: 443})
	if _, err := w.Users(ctxOf(t)); err != nil {
		t.Fatal(err)
	}
	if !w.Knows(12) || w.Knows(13) {
		t.Error("the list is not known")
	}
	if err := w.ReportTraffic(ctxOf(t), []meter.Traffic{{ID: 1, Up: 1, Down: 2}, {Name: "static", Up: 1}, {ID: 12, Down: 1 << 40}}); err != nil {
		t.Fatal(err)
	}
	if got := w.panel.TrafficOf(3); got[1] != (paneltest.Traffic{Up: 1, Down: 2}) || got[12].Down != 1<<40 || len(got) != 2 {
		t.Errorf("traffic = %+v", got)
	}
	ips := []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("fe80::1%eth0")}
	if err := w.ReportOnline(ctxOf(t), []meter.Online{{ID: 1, IPs: ips}}); err != nil {
		t.Fatal(err)
	}
	if got := w.panel.Alive(3, 1); len(got) != 2 || got[1] != "fe80::1" {
		t.Errorf("alive = %q", got)
	}
	for _, call := range []func() error{
		func() error { return w.ReportTraffic(ctxOf(t), nil) },
		func() error { return w.ReportOnline(ctxOf(t), nil) },
	} {
		if err := call(); err != nil {
			t.Error(err)
		}
	}
	if n := w.panel.Requests(paneltest.PushCall) + w.panel.Requests(paneltest.AliveCall); n != 2 {
		t.Errorf("%d reports, want 2: nothing to say is not sent", n)
	}
	err := w.ReportTraffic(ctxOf(t), []meter.Traffic{{ID: 1, Up: 10}, {ID: 99, Up: 1}})
	checkClass(t, err, panel.Unclear, "500")
	checkClass(t, serve(t, 200, `{"ret":0,"data":"update failed"}`).ReportTraffic(ctxOf(t), []meter.Traffic{{ID: 1, Up: 1}}), panel.Unclear, "update failed")
	checkClass(t, serve(t, 200, `{"ret":0,"msg":"Invalid data."}`).ReportTraffic(ctxOf(t), []meter.Traffic{{ID: 1, Up: 1}}), panel.Refused, "Invalid data.")
	checkClass(t, serve(t, 401, `{"ret":0,"msg":"Invalid request IP."}`).ReportTraffic(ctxOf(t), []meter.Traffic{{ID: 1, Up: 1}}), panel.Refused, "checkNodeIp")
}

// TestStatus: an old panel takes the load, today's is asked once.
func TestStatus(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		w := newWorld(t, legacy)
		w.panel.SetNode(paneltest.Node{ID: 3, Protocol: "trojan", Port: 443})
		for range 2 {
			if err := w.ReportStatus(ctxOf(t), machine.State{Uptime: time.Hour, Load: [3]float64{0.1, 0.2, 0.3}}); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.panel.Loads(3); legacy && got != 2 || !legacy && got != 0 {
			t.Errorf("legacy=%t: %d states arrived", legacy, got)
		}
	}
}

// TestRules: rules on text become lines, and hits arrive with the rule's number.
func checkClass(t *testing.T, err error, want panel.Class, text string) {
	t.Helper()
	var e *panel.Error
	if !errors.As(err, &e) || e.Class != want || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "secret-key") {
		t.Errorf("err = %v, want class %s and %q", err, want, text)
	}
}

// FuzzInfo: what is taken has a protocol and a port.
func FuzzInfo(f *testing.F) {
	f.Add(`{"sort":11,"server":"1.3.5.7;443;2;tls;ws;path=/a=b|host=x.com"}`)
	f.Add(`{"sort":14,"server":"a;port=1#2"}`)
	f.Add(`{"sort":1,"custom_config":{"offset_port_node":"20000","method":"m","server_key":"k"}}`)
	f.Fuzz(func(t *testing.T, data string) {
		var row info
		if open("x", answerOf(`{"ret":1,"data":`+data+`}`), row.read) != nil {
			return
		}
		n, _, err := row.node()
		if err == nil && (n.Protocol == "" || n.Port == 0) {
			t.Errorf("taken: %+v", n)
		}
	})
}

func answerOf(body string) *webapi.Answer { return &webapi.Answer{Status: 200, Body: []byte(body)} }

package sspanel

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"heki/adapter"
	"heki/constant"
	"heki/option"
	"heki/panel"
	"heki/panel/paneltest"
	"heki/panel/phpjson"
)

// The rows of reference/panels.md §3.3, with a carrier for each way to tell users apart.
const (
	plain1  = `{"id":1,"passwd":"admin0pw","port":20001,"method":"aes-256-gcm","protocol":"origin","protocol_param":null,"obfs":"plain","obfs_param":null,"node_speedlimit":0,"node_connector":0,"is_multi_user":0}`
	ssr12   = `{"id":12,"passwd":"xk2Lp9Qa","port":20012,"method":"rc4-md5","protocol":"origin","protocol_param":"","obfs":"plain","obfs_param":"","node_speedlimit":12.5,"node_connector":2,"is_multi_user":0,"alive_ip":"1"}`
	ssr13   = `{"id":13,"passwd":"p","port":20013,"method":"AES-128-CTR","protocol":"auth_sha1_v4_compatible","obfs":"http_simple_compatible","obfs_param":"a.com,b.com#User-Agent: x","is_multi_user":0}`
	ssr14   = `{"id":14,"passwd":"p","port":20014,"method":"chacha20","protocol":"auth_chain_a","protocol_param":"32","obfs":"tls1.2_ticket_fastauth","is_multi_user":0}`
	byUID   = `{"id":900,"passwd":"carrierPwd","port":12345,"method":"chacha20","protocol":"auth_aes128_md5","protocol_param":"","obfs":"tls1.2_ticket_auth","obfs_param":"","node_speedlimit":0,"node_connector":0,"is_multi_user":2}`
	byName  = `{"id":901,"passwd":"carrierPw2","port":23456,"method":"aes-128-gcm","protocol":"origin","protocol_param":"","obfs":"simple_obfs_http","obfs_param":"","node_speedlimit":0,"node_connector":0,"is_multi_user":1}`
	byTrial = `{"id":902,"passwd":"unused","port":34567,"method":"aes-256-gcm","protocol":"origin","obfs":"plain","is_multi_user":1}`
)

func own(method, protocol, obfs string) adapter.SSR {
	return adapter.SSR{Method: method, Protocol: protocol, Obfs: obfs}
}

func TestPorts(t *testing.T) {
	uid := option.SSRExtraPort{ListenPort: 12345, SSRPort: option.SSRPort{Method: "chacha20", Password: "carrierPwd", Protocol: "auth_aes128_md5", Obfs: "tls1.2_ticket_auth", Mode: "protocol"}}
	name := option.SSRExtraPort{ListenPort: 23456, SSRPort: option.SSRPort{Method: "aes-128-gcm", Password: "carrierPw2", Protocol: "origin", Obfs: "simple_obfs_http", Mode: "obfs"}}
	one := adapter.Account{ID: 1, Name: "1", Password: "admin0pw", Port: 20001, SSR: own("aes-256-gcm", "origin", "plain")}
	twelve := adapter.Account{ID: 12, Name: "12", Password: "xk2Lp9Qa", Port: 20012, SSR: own("rc4-md5", "origin", "plain"), SpeedBytes: 1_562_500, IPLimit: 2}
	portless := func(list ...adapter.Account) []adapter.Account {
		for i := range list {
			list[i].Port = 0
		}
		return list
	}
	bare := func(list ...adapter.Account) []adapter.Account {
		for i := range list {
			list[i].Port, list[i].SSR = 0, adapter.SSR{}
		}
		return list
	}
	ssr := func(ports ...option.SSRExtraPort) panel.Node {
		return panel.Node{Protocol: constant.TypeShadowsocksR, Ports: ports}
	}
	ss := panel.Node{Protocol: constant.TypeShadowsocks, Port: 34567, Cipher: "aes-256-gcm"}
	for _, tt := range []struct {
		name   string
		muOnly int64
		rows   []string
		node   panel.Node
		users  []adapter.Account
		said   []string
	}{
		{"everything", 0, []string{plain1, ssr12, byUID, byName}, ssr(uid, name), []adapter.Account{one, twelve}, nil},
		{"single ports only", 1, []string{plain1, ssr12, byUID, byName}, ssr(uid, name), portless(one, twelve), nil},
		{"own ports only", -1, []string{plain1, ssr12, byUID, byName}, ssr(), []adapter.Account{one, twelve}, nil},
		{
			"today: a port each", 1,
			[]string{`{"id":12,"node_speedlimit":0,"method":"aes-256-gcm","port":20012,"passwd":"xk2Lp9Qa"}`},
			ssr(),
			[]adapter.Account{{ID: 12, Name: "12", Password: "xk2Lp9Qa", Port: 20012, SSR: own("aes-256-gcm", "origin", "plain")}},
			nil,
		},
		{"passwords", 1, []string{plain1, ssr12, byTrial}, ss, bare(one, twelve), nil},
		{"passwords and own ports", 0, []string{plain1, ssr12, byTrial}, ss, bare(one, twelve), []string{"ports of users are not served"}},
		{"passwords beside others", 1, []string{plain1, byTrial, byUID}, ssr(uid), portless(one), []string{"carrier 902: port 34567 tells users apart by password"}},
		{"passwords twice", 1, []string{plain1, byTrial, strings.ReplaceAll(byTrial, "34567", "1")}, ss, bare(one), []string{"user 902 stands twice"}},
		{"two carriers of passwords", 1, []string{plain1, byTrial, strings.NewReplacer("34567", "1", "902", "903").Replace(byTrial)}, ss, bare(one), []string{"carrier 903: port 1 is not served beside port 34567"}},
		{"the same password", 1, []string{plain1, strings.Replace(plain1, `"id":1`, `"id":2`, 1), byTrial}, ss, bare(one), []string{"user 2: has the password of user 1"}},
		{"names that panels have beside", -1, []string{ssr13, ssr14}, ssr(), []adapter.Account{
			{ID: 14, Name: "14", Password: "p", Port: 20014, SSR: adapter.SSR{Method: "chacha20", Protocol: "auth_chain_a", ProtocolParam: "32", Obfs: "tls1.2_ticket_fastauth"}},
		}, []string{`the port of user 13: protocol "auth_sha1_v4" is not served`}},
		{"a user's port is not served, the shared is", 0, []string{ssr13, byUID}, ssr(uid), []adapter.Account{
			{ID: 13, Name: "13", Password: "p", SSR: adapter.SSR{Method: "AES-128-CTR", Protocol: "auth_sha1_v4_compatible", Obfs: "http_simple_compatible", ObfsParam: "a.com,b.com"}},
		}, []string{"the port of user 13"}},
		{"bad carriers", 1, []string{
			plain1,
			strings.Replace(byUID, "chacha20", "bf-cfb", 1),
			strings.NewReplacer("901", "903", "aes-128-gcm", "rc4-md5", "simple_obfs_http", "plain").Replace(byName),
			strings.NewReplacer("901", "904", "23456", "70000").Replace(byName),
			strings.NewReplacer("901", "905", "carrierPw2", "", "23456", "2").Replace(byName),
			strings.NewReplacer("902", "906", "aes-256-gcm", "2022-blake3-aes-256-gcm").Replace(byTrial),
		}, ssr(), nil, []string{
			`carrier 900: method "bf-cfb" is not served`, `carrier 903: method "rc4-md5" with origin and plain`, "carrier 904: port is 70000",
			"carrier 905: has no passwd", `carrier 906: method "2022-blake3-aes-256-gcm"`, "1 more",
		}},
		{
			"ports that are taken", 0,
			[]string{byUID, byName, strings.Replace(plain1, "20001", "12345", 1), strings.NewReplacer("20012", "23456", `"passwd":"xk2Lp9Qa"`, `"passwd":""`).Replace(ssr12)},
			ssr(uid, name), portless(one),
			[]string{"the port of user 1: port 12345 is user 900's", "user 12: has no passwd"},
		},
		{"no carrier", 1, []string{strings.Replace(byUID, `"is_multi_user":2`, `"is_multi_user":0`, 1)}, ssr(), nil, []string{"single ports only"}},
		{"an id that clients cannot say", 1, []string{byUID, strings.Replace(plain1, `"id":1`, `"id":4294967296`, 1)}, ssr(uid), nil, []string{"user 4294967296"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var said []string
			c := &Client{id: 3, say: func(_ slog.Level, format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }}
			p := userParser{keep: true, seen: make(map[int64]struct{}), alive: make(map[int64]int)}
			if err := phpjson.Decode([]byte("["+strings.Join(tt.rows, ",")+"]"), p.read); err != nil {
				t.Fatal(err)
			}
			node, users := p.ports(tt.muOnly)
			c.tell(&p)
			if err := node.Check(3); err != nil {
				t.Error(err)
			}
			if !reflect.DeepEqual(*node, tt.node) || !slices.Equal(users, tt.users) {
				t.Errorf("got %+v\n %+v\nwant %+v\n %+v", *node, users, tt.node, tt.users)
			}
			if len(said) != len(tt.said) {
				t.Fatalf("said %q, want %q", said, tt.said)
			}
			for i, want := range tt.said {
				if !strings.Contains(said[i], want) {
					t.Errorf("said %q, want %q", said[i], want)
				}
			}
		})
	}
}

// TestPortNode asks a panel: users make the node, an answer with nobody does not, and what did not change is
// not news.
func TestPortNode(t *testing.T) {
	w := newWorld(t, true)
	w.panel.SetNode(paneltest.Node{ID: 3, Protocol: "shadowsocks", Cipher: "aes-256-gcm", MuOnly: 1})
	carrier := paneltest.User{ID: 900, Port: 12345, Method: "rc4-md5", Protocol: "auth_chain_a", Obfs: "plain", Carrier: 2, Password: "carrier"}
	users := []paneltest.User{{ID: 1, Password: "one", Alive: 2, DeviceLimit: 3, Method: "rc4-md5", Protocol: "origin", Obfs: "plain", Port: 20001}, carrier}
	w.panel.SetUsers(users)
	pull := func(want, wantUsers error) (*panel.Node, []adapter.Account) {
		t.Helper()
		n, err := w.Node(ctxOf(t))
		accounts, errUsers := w.Users(ctxOf(t))
		if !errors.Is(err, want) || !errors.Is(errUsers, wantUsers) {
			t.Fatalf("%v, %v", err, errUsers)
		}
		return n, accounts
	}
	n, accounts := pull(nil, nil)
	if n.Protocol != "shadowsocksr" || len(n.Ports) != 1 || n.Ports[0].ListenPort != 12345 || len(accounts) != 1 || accounts[0].ID != 1 || accounts[0].Port != 0 {
		t.Errorf("%+v, %+v", n, accounts)
	}
	if devices, err := w.Devices(ctxOf(t)); err != nil || !reflect.DeepEqual(devices, map[int64]int{1: 2}) {
		t.Errorf("devices = %v, %v", devices, err)
	}
	pull(panel.ErrNotModified, panel.ErrNotModified)
	w.panel.SetUsers(nil)
	if empty, accounts := pull(nil, nil); len(accounts) != 0 || !reflect.DeepEqual(empty, n) {
		t.Errorf("nobody: %+v, %+v", empty, accounts)
	}
	users[1].Port = 12346
	w.panel.SetUsers(users)
	if n, _ = pull(nil, nil); n.Ports[0].ListenPort != 12346 {
		t.Errorf("moved: %+v", n)
	}
	w.panel.SetNode(paneltest.Node{ID: 3, Protocol: "shadowsocks", Cipher: "aes-256-gcm", MuOnly: -1})
	if n, accounts = pull(nil, nil); len(n.Ports) != 0 || accounts[0].Port != 20001 {
		t.Errorf("own ports: %+v, %+v", n, accounts)
	}
}

// TestClosedNode: the users of a node that opens again are news though they are the old ones.
func TestClosedNode(t *testing.T) {
	w := newWorld(t, false)
	for i, want := range []int{2, 0, 2} {
		row := paneltest.Node{ID: 3, Protocol: "trojan", Port: 443}
		if i == 1 {
			row.Closed = "Node is not enabled."
		}
		w.panel.SetNode(row)
		users, err := w.Users(ctxOf(t))
		if err != nil || len(users) != want {
			t.Errorf("%d: %d users, %v; want %d", i, len(users), err, want)
		}
	}
}

// FuzzPorts: whatever rows say makes a node that can be built, with users who have all they need.
func FuzzPorts(f *testing.F) {
	for _, rows := range []string{plain1, ssr12, ssr13, ssr14, byUID, byName, byTrial, plain1 + "," + byTrial, ssr12 + "," + byUID + "," + byName} {
		for muOnly := int64(-1); muOnly <= 1; muOnly++ {
			f.Add("["+rows+"]", muOnly)
		}
	}
	f.Fuzz(func(t *testing.T, rows string, muOnly int64) {
		p := userParser{keep: true, seen: make(map[int64]struct{}), alive: make(map[int64]int)}
		if phpjson.Decode([]byte(rows), p.read) != nil {
			return
		}
		n, users := p.ports(muOnly)
		if err := n.Check(3); err != nil {
			t.Fatal(err)
		}
		ports := make(map[uint16]bool)
		for _, s := range n.Ports {
			if ports[s.ListenPort] || s.ListenPort == 0 || s.Password == "" || served(s.SSRPort) != nil {
				t.Errorf("port %+v", s)
			}
			ports[s.ListenPort] = true
		}
		for _, u := range users {
			if u.Port != 0 && (ports[u.Port] || n.Port != 0) || u.Password == "" || u.Port == 0 && n.Port == 0 && len(n.Ports) == 0 {
				t.Errorf("user %+v", u)
			}
			ports[u.Port] = true
		}
	})
}

// TestSaysWhatItIgnores: once, not at each sync.
func TestSaysWhatItIgnores(t *testing.T) {
	for custom, want := range map[string]string{
		`"sort":0,"custom_config":{"plugin":"obfs","plugin_option":"obfs=http"}`: `plugin "obfs"`,
		`"sort":0,"custom_config":[]`:                                            "",
		`"sort":11,"custom_config":{"offset_port_node":443,"enable_reality":true,"reality-opts":{"dest":"a.com:443","server_names":["a.com"],"private_key":"P","short_ids":[""],"max_time_diff":60,"min_client_ver":""}}`: "reality-opts.max_time_diff",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/info") {
				fmt.Fprintf(w, `{"ret":1,"data":{%s}}`, custom)
			} else {
				fmt.Fprint(w, `{"ret":1,"data":[{"id":1,"port":20001,"method":"aes-256-gcm","passwd":"p"}]}`)
			}
		}))
		defer server.Close()
		w := new(world)
		w.Client = w.client(t, server.URL, key)
		for range 2 {
			if _, err := w.Node(ctxOf(t)); err != nil && !errors.Is(err, panel.ErrNotModified) {
				t.Errorf("%s: %v", custom, err)
			}
		}
		if said := strings.Join(w.said, "\n"); len(w.said) > 1 || !strings.Contains(said, want) || want == "" && said != "" {
			t.Errorf("%s: said %q, want %q", custom, w.said, want)
		}
	}
}

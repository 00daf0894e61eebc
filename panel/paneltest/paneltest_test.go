package paneltest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const uuid1 = "b831381d-6324-4d53-ad4f-8cda48b30811"

func newPanel() *Panel {
	p := New("token")
	p.SetNode(Node{ID: 1, Protocol: "vless", Port: 443, Network: "ws", Path: "/ray", Host: "v.example.com", TLS: 1, ServerName: "v.example.com"})
	p.SetNode(Node{ID: 2, Code: "1", Protocol: "trojan", Port: 443, TLS: 1, ServerName: "tj.example.com"})
	p.SetNode(Node{ID: 8, Protocol: "shadowsocks", Port: 8389, Cipher: "2022-blake3-aes-256-gcm", ServerKey: "MjQ5MjBkZWNmODNmNjk2MGI4MGY3MzdhMjhlZWFmYzE="})
	p.SetUser(User{ID: 1, UUID: uuid1})
	p.SetUser(User{ID: 2, UUID: "5ad8bb1b-1d1c-4d3c-9a77-0f6a0c3d7f10", SpeedMbps: 100, DeviceLimit: 3, Nodes: []int{2}})
	return p
}

func ask(p *Panel, method, target, body, match string) *http.Response {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if match != "" {
		r.Header.Set("If-None-Match", match)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result()
}

// The answers are those of reference/panels.md §6, byte for byte.
func TestAnswers(t *testing.T) {
	const v1, v2 = "/api/v1/server/UniProxy/", "/api/v2/server/"
	const auth = "?token=token&node_id=2"
	const trojan = `{"protocol":"trojan","listen_ip":"0.0.0.0","server_port":443,"network":"tcp","networkSettings":null,"host":"tj.example.com","server_name":"tj.example.com","multiplex":null,"tls":1,"tls_settings":{"server_name":"tj.example.com","allow_insecure":false,"ech":null},"base_config":{"push_interval":60,"pull_interval":60}}`
	const done = `{"status":"success","message":"\u64cd\u4f5c\u6210\u529f","data":true,"error":null}`
	for _, tt := range []struct {
		name, method, target, body string
		status                     int
		want                       string
	}{
		{"trojan", "GET", v2 + "config" + auth, "", 200, trojan},
		{"code before id", "GET", v2 + "config?token=token&node_id=1", "", 200, trojan},
		{"shadowsocks 2022", "GET", v2 + "config?token=token&node_id=8", "", 200, `{"protocol":"shadowsocks","listen_ip":"0.0.0.0","server_port":8389,"network":null,"networkSettings":null,"cipher":"2022-blake3-aes-256-gcm","plugin":null,"plugin_opts":null,"server_key":"MjQ5MjBkZWNmODNmNjk2MGI4MGY3MzdhMjhlZWFmYzE=","base_config":{"push_interval":60,"pull_interval":60}}`},
		{"v1 type tells apart", "GET", v1 + "config?token=token&node_id=1&node_type=vless", "", 200, `{"protocol":"vless","listen_ip":"0.0.0.0","server_port":443,"network":"ws","networkSettings":{"path":"\/ray","headers":{"Host":"v.example.com"}},"tls":1,"flow":"","decryption":null,"tls_settings":{"server_name":"v.example.com","allow_insecure":false,"ech":null},"multiplex":null,"base_config":{"push_interval":60,"pull_interval":60}}`},
		{"users", "GET", v1 + "user" + auth, "", 200, `{"users":[{"id":1,"uuid":"` + uuid1 + `","speed_limit":null,"device_limit":null},{"id":2,"uuid":"5ad8bb1b-1d1c-4d3c-9a77-0f6a0c3d7f10","speed_limit":100,"device_limit":3}]}`},
		{"users of a node", "GET", v1 + "user?token=token&node_id=1&node_type=vless", "", 200, `{"users":[{"id":1,"uuid":"` + uuid1 + `","speed_limit":null,"device_limit":null}]}`},
		{"wrong token", "GET", v2 + "user?token=x&node_id=1", "", 422, `{"message":"Invalid token","errors":{"token":["Invalid token"]}}`},
		{"no token", "GET", v2 + "user?node_id=1", "", 422, `{"message":"The token field is required.","errors":{"token":["The token field is required."]}}`},
		{"no node id", "GET", v2 + "user?token=token", "", 422, `{"message":"The node id field is required.","errors":{"node_id":["The node id field is required."]}}`},
		{"bad type", "GET", v1 + "user" + auth + "&node_type=V2ray", "", 422, `{"message":"Invalid node type specified","errors":{"node_type":["Invalid node type specified"]}}`},
		{"upper-case type", "GET", v1 + "config" + auth + "&node_type=Trojan", "", 200, trojan},
		{"another type", "GET", v1 + "config" + auth + "&node_type=v2ray", "", 400, `{"status":"fail","message":"Server does not exist","data":null,"error":null}`},
		{"unknown node", "GET", v2 + "config?token=token&node_id=9", "", 400, `{"status":"fail","message":"Server does not exist","data":null,"error":null}`},
		{"push", "POST", v2 + "push" + auth, `{"1":[5,"6"],"2":[1],"x":[1,2],"3":null}`, 200, done},
		{"empty push", "POST", v2 + "push" + auth, `[]`, 200, done},
		{"bad push", "POST", v2 + "push" + auth, `null`, 422, `{"status":"fail","message":"Invalid data format","data":null,"error":null}`},
		{"alive", "POST", v1 + "alive" + auth, `{"2":["1.2.3.4:5","[2001:db8::1]:443","1.2.3.4"]}`, 200, `{"data":true}`},
		{"alive list", "GET", v1 + "alivelist" + auth, "", 200, `{"alive":{"2":2}}`},
		{"bad alive", "POST", v1 + "alive" + auth, `null`, 400, `{"error":"Invalid online data"}`},
		{"status", "POST", v2 + "status" + auth, `{"cpu":12.5,"mem":{"total":8,"used":4},"swap":{"total":0,"used":0},"disk":{"total":100,"used":40}}`, 200, `{"data":true,"code":0,"message":"success"}`},
		{"status without disk", "POST", v2 + "status" + auth, `{"cpu":12.5,"mem":{"total":8,"used":4},"swap":{"total":0,"used":0}}`, 422, `{"message":"The disk.total field is required.","errors":{"disk.total":["The disk.total field is required."]}}`},
		{"report", "POST", v2 + "report" + auth, `{"traffic":{"1":[1,2]},"alive":{"1":["9.9.9.9"]}}`, 200, `{"data":true}`},
		{"no report in v1", "POST", v1 + "report" + auth, `{}`, 404, `{"message":"The route api\/v1\/server\/UniProxy\/report could not be found."}`},
		{"handshake", "GET", v2 + "handshake?token=token", "", 200, `{"websocket":{"enabled":false}}`},
		{"wrong verb", "GET", v2 + "push" + auth, "", 405, `{"message":"The GET method is not supported for route api\/v2\/server\/push. Supported methods: POST."}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPanel()
			if tt.name == "alive list" {
				ask(p, "POST", v1+"alive"+auth, `{"2":["1.2.3.4","5.6.7.8"],"1":["1.1.1.1"]}`, "")
			}
			resp := ask(p, tt.method, tt.target, tt.body, "")
			got, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != tt.status || string(got) != tt.want {
				t.Errorf("%d %s\nwant %d %s", resp.StatusCode, got, tt.status, tt.want)
			}
			switch tt.name {
			case "push":
				if tr := p.Traffic(2, 1); tr != (Traffic{5, 6}) || len(p.TrafficOf(2)) != 1 {
					t.Errorf("booked %+v", p.TrafficOf(2))
				}
			case "empty push", "bad push":
				if len(p.Pushes()) != 0 {
					t.Error("booked")
				}
			case "alive":
				if a := strings.Join(p.Alive(2, 2), " "); a != "1.2.3.4 2001:db8::1" {
					t.Errorf("alive = %s", a)
				}
			}
		})
	}
}

func TestValidators(t *testing.T) {
	p := newPanel()
	const target = "/api/v2/server/user?token=token&node_id=2"
	first := ask(p, "GET", target, "", "")
	etag := first.Header.Get("ETag")
	if len(etag) != 42 || etag[0] != '"' {
		t.Fatalf("etag = %s", etag)
	}
	for _, match := range []string{etag, "W/" + etag, strings.Trim(etag, `"`), `"x", ` + etag} {
		resp := ask(p, "GET", target, "", match)
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 304 || len(body) != 0 || resp.Header.Get("ETag") != "" {
			t.Errorf("%s: %d, %q, etag %q", match, resp.StatusCode, body, resp.Header.Get("ETag"))
		}
	}
	p.Rekey(1)
	if resp := ask(p, "GET", target, "", etag); resp.StatusCode != 200 {
		t.Errorf("after a change: %d", resp.StatusCode)
	}
	if p.Checked(2).IsZero() || !p.Checked(1).IsZero() {
		t.Error("the heartbeat is wrong")
	}
}

func TestFaultsInOrder(t *testing.T) {
	p := newPanel()
	p.Fail(PushCall, BadGateway(), 1)
	p.Fail(PushCall, ServerError(true), 2)
	p.Fail(Any, Forbidden(), 1)
	const target = "/api/v2/server/push?token=token&node_id=2"
	for i, want := range []int{502, 500, 500, 403, 200} {
		if resp := ask(p, "POST", target, `{"1":[1,0]}`, ""); resp.StatusCode != want {
			t.Errorf("push %d: %d, want %d", i, resp.StatusCode, want)
		}
	}
	if got := p.Traffic(2, 1).Up; got != 3 || p.Requests(PushCall) != 5 || p.Requests(Any) != 5 {
		t.Errorf("booked %d of %d requests, want 3 of 5", got, p.Requests(PushCall))
	}
	if pushes := p.Pushes(); pushes[0].Fault != ServerError(true).String() || pushes[2].Fault != "" {
		t.Errorf("faults of the pushes: %+v", pushes)
	}
}

// A server that went down comes back on its port, and Close leaves nothing that hangs.
func TestServer(t *testing.T) {
	s, err := Start(newPanel())
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	target := s.URL + "/api/v2/server/user?token=token&node_id=2"
	get := func() error {
		resp, err := client.Get(target)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	s.Down()
	if get() == nil {
		t.Error("down and answers")
	}
	if err := s.Up(); err != nil {
		t.Fatal(err)
	}
	if err := get(); err != nil {
		t.Error(err)
	}
	s.Fail(Any, Reset(false), 1)
	if get() == nil {
		t.Error("reset and answers")
	}
	s.Fail(Any, Hang(false), 1)
	hung := make(chan error, 1)
	go func() { hung <- get() }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.Requests(Any) < 4 {
		<-tick.C
	}
	s.Close()
	if err := <-hung; err == nil {
		t.Error("the request that hung was answered")
	}
}

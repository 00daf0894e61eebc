package ppanel

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	jsoniter "github.com/json-iterator/go"

	"heki/option"
	"heki/panel"
	"heki/panel/phpjson"
	"heki/panel/webapi"
)

// example is the answer in reference/panels.md §7.
const example = `{"code":200,"msg":"success","data":{"traffic_report_threshold":0,"push_interval":60,"pull_interval":60,"ip_strategy":"prefer_ipv4","dns":[{"proto":"udp","address":"1.1.1.1","domains":["suffix:netflix.com"]}],"block":["keyword:torrent"],"outbound":[],"protocols":[{"type":"vless","port":443,"enable":true,"security":"reality","sni":"www.apple.com","reality_server_addr":"www.apple.com","reality_server_port":443,"reality_private_key":"PRIV","reality_public_key":"PUB","reality_short_id":"0123abcd","transport":"tcp","flow":"xtls-rprx-vision","ratio":1},{"type":"shadowsocks","port":8388,"enable":true,"cipher":"2022-blake3-aes-128-gcm","server_key":"24920decf83f6960"},{"type":"anytls","port":8443,"enable":true,"security":"tls","sni":"a.example.com"}],"total":3}}`

// nodeOf is what a client makes of an answer; id is 1.
func nodeOf(body, kind string) (*panel.Node, error) {
	var s server
	if err := open(callServer, &webapi.Answer{Status: 200, Body: []byte(body)}, s.read); err != nil {
		return nil, err
	}
	p, err := s.pick(1, kind)
	if err != nil {
		return nil, err
	}
	n, err := p.node()
	if err != nil {
		return nil, err
	}
	s.apply(n)
	return n, n.Check(1)
}

// with is an answer with one protocol.
func with(protocol string) string {
	return `{"code":200,"msg":"success","data":{"protocols":[{"enable":true,` + protocol + `}]}}`
}

func TestExample(t *testing.T) {
	shared := panel.Node{
		Push: time.Minute, Pull: time.Minute,
		Routes: []panel.Route{
			{ID: 1, Action: "block", Match: []string{"torrent"}},
			{ID: 2, Action: "dns", Match: []string{"domain:netflix.com"}, Value: "1.1.1.1"},
		},
	}
	vless, ss, anytls := shared, shared, shared
	vless.Protocol, vless.Port, vless.TLS, vless.ServerName, vless.Flow = "vless", 443, panel.TLSReality, "www.apple.com", "xtls-rprx-vision"
	vless.Reality = &panel.Reality{Server: "www.apple.com", ServerPort: 443, ServerNames: []string{"www.apple.com"}, PrivateKey: "PRIV", ShortIDs: []string{"0123abcd"}}
	ss.Protocol, ss.Port, ss.Cipher, ss.ServerKey = "shadowsocks", 8388, "2022-blake3-aes-128-gcm", "MjQ5MjBkZWNmODNmNjk2MA=="
	anytls.Protocol, anytls.Port, anytls.TLS, anytls.ServerName = "anytls", 8443, panel.TLSOn, "a.example.com"
	for _, want := range []panel.Node{vless, ss, anytls} {
		got, err := nodeOf(example, want.Protocol)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", want.Protocol, got, err, want)
		}
	}
}

// TestProtocols: every protocol with everything that the panel can say of it.
func TestProtocols(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     panel.Node
	}{
		{"vless", `"type":"vless","port":443,"security":"none","transport":"tcp","flow":"none","encryption":"none"`, panel.Node{Protocol: "vless", Port: 443}},
		{
			"vless over websocket", `"type":"vless","port":"443","security":"tls","sni":"a.test","transport":"websocket","path":"/x","host":"cdn.test","cert_mode":"dns","cert_dns_provider":"cloudflare","cert_dns_env":"A=b,C=d"`,
			panel.Node{
				Protocol: "vless", Port: 443, TLS: panel.TLSOn, ServerName: "a.test", Carrier: panel.Carrier{Network: "ws", Path: "/x", Host: "cdn.test"},
				Cert: &panel.Cert{Mode: "dns", Provider: "cloudflare", Env: map[string]string{"A": "b", "C": "d"}},
			},
		},
		{
			"vless with tls and vision", `"type":"vless","port":443,"security":"tls","sni":"a.test","flow":"xtls-rprx-vision","cert_mode":"http"`,
			panel.Node{Protocol: "vless", Port: 443, TLS: panel.TLSOn, ServerName: "a.test", Flow: "xtls-rprx-vision", Cert: &panel.Cert{Mode: "http"}},
		},
		{
			"reality with its least", `"type":"vless","port":443,"security":"reality","sni":"a.test","reality_private_key":"K","transport":"tcp"`,
			panel.Node{
				Protocol: "vless", Port: 443, TLS: panel.TLSReality, ServerName: "a.test",
				Reality: &panel.Reality{Server: "a.test", ServerPort: 443, ServerNames: []string{"a.test"}, PrivateKey: "K", ShortIDs: []string{""}},
			},
		},
		{"vmess", `"type":"vmess","port":80,"transport":"tcp"`, panel.Node{Protocol: "vmess", Port: 80}},
		{
			"vmess over httpupgrade", `"type":"vmess","port":80,"transport":"httpupgrade","path":"/u","host":"h.test"`,
			panel.Node{Protocol: "vmess", Port: 80, Carrier: panel.Carrier{Network: "httpupgrade", Path: "/u", Host: "h.test"}},
		},
		{
			"trojan over grpc", `"type":"trojan","port":443,"security":"tls","sni":"a.test","transport":"grpc","service_name":"svc","cert_mode":"self"`,
			panel.Node{Protocol: "trojan", Port: 443, TLS: panel.TLSOn, ServerName: "a.test", Carrier: panel.Carrier{Network: "grpc", ServiceName: "svc"}, Cert: &panel.Cert{Mode: "self"}},
		},
		{
			"shadowsocks with obfs", `"type":"shadowsocks","port":8388,"cipher":"aes-128-gcm","server_key":"left over","obfs":"http","obfs_host":"o.test","obfs_path":"/o"`,
			panel.Node{Protocol: "shadowsocks", Port: 8388, Cipher: "aes-128-gcm", Obfs: &panel.Obfs{Type: "http", Host: "o.test", Path: "/o"}},
		},
		{
			"shadowsocks 2022", `"type":"shadowsocks","port":8388,"cipher":"2022-blake3-aes-256-gcm","server_key":"24920decf83f6960b80f737a28eeafc1","obfs":"none"`,
			panel.Node{Protocol: "shadowsocks", Port: 8388, Cipher: "2022-blake3-aes-256-gcm", ServerKey: "MjQ5MjBkZWNmODNmNjk2MGI4MGY3MzdhMjhlZWFmYzE="},
		},
		{
			"hysteria", `"type":"hysteria","port":8443,"security":"tls","sni":"a.test","obfs":"salamander","obfs_password":"p","up_mbps":100,"down_mbps":200`,
			panel.Node{Protocol: "hysteria2", Port: 8443, TLS: panel.TLSOn, ServerName: "a.test", Obfs: &panel.Obfs{Type: "salamander", Password: "p"}, UpMbps: 100, DownMbps: 200},
		},
		{
			"hysteria2 without limits", `"type":"hysteria2","port":8443,"sni":"a.test","obfs":"none","obfs_password":"p","cert_mode":"none"`,
			panel.Node{Protocol: "hysteria2", Port: 8443, TLS: panel.TLSOn, ServerName: "a.test", IgnoreClientBandwidth: true, Cert: &panel.Cert{Mode: "none"}},
		},
		{
			"anytls", `"type":"anytls","port":8443,"security":"tls","padding_scheme":"stop=2\n0=30-30\n1=100-400,c,9-9\n"`,
			panel.Node{Protocol: "anytls", Port: 8443, TLS: panel.TLSOn, PaddingScheme: []string{"stop=2", "0=30-30", "1=100-400,c,9-9"}},
		},
		{"nulls", `"type":"trojan","port":443,"security":null,"sni":null,"transport":null,"padding_scheme":null,"cert_dns_env":null,"up_mbps":null`, panel.Node{Protocol: "trojan", Port: 443}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := nodeOf(with(tt.in), "")
			if err != nil || !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("\n got %+v, %v\nwant %+v", got, err, tt.want)
			}
		})
	}
}

// TestRefused: what heki does not serve, and what cannot be right, is named.
func TestRefused(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"not ours", with(`"type":"tuic","port":"none"`), "node 1 is tuic, which this version does not serve"},
		{"xhttp", with(`"type":"vless","port":443,"transport":"xhttp"`), `network "xhttp", which this version does not serve with vless`},
		{"encryption", with(`"type":"vless","port":443,"encryption":"mlkem768x25519plus"`), "encryption is set"},
		{"security", with(`"type":"vless","port":443,"security":"xtls"`), `security is "xtls", must be none, tls or reality`},
		{"flow", with(`"type":"vless","port":443,"flow":"xtls-rprx-vision"`), "needs TLS or REALITY"},
		{"reality under vmess", with(`"type":"vmess","port":443,"security":"reality"`), "reality, which this version does not serve with vmess"},
		{"reality's port", with(`"type":"vless","port":443,"security":"reality","reality_server_port":70000`), "reality_server_port is 70000"},
		{"no port", with(`"type":"vless"`), "port is 0, must be 1 to 65535"},
		{"port", with(`"type":"vless","port":"http"`), `port is "http", must be a number`},
		{"no cipher", with(`"type":"shadowsocks","port":1`), "cipher is missing"},
		{"no key", with(`"type":"shadowsocks","port":1,"cipher":"2022-blake3-aes-128-gcm"`), "server_key has 0 characters, must have 16"},
		{"a list", `{"code":200,"data":{"protocols":["vless"]}}`, "protocols[0] is not an object"},
		{"no protocols", `{"code":200,"data":{"protocols":null}}`, "server 1 has no enabled protocol"},
		{"off", `{"code":200,"data":{"protocols":[{"type":"vless","port":1}]}}`, "server 1 has no enabled protocol"},
		{"no data", `{"code":200,"msg":"success"}`, "data is missing"},
		{"no code", `{"data":{}}`, "code is missing"},
		{"another code", `{"code":"40004","msg":"No\nsuch server"}`, "code 40004: No such server"},
		{"no words", `{"code":500,"data":[]}`, "code 500"},
		{"no object", `[]`, "is not an object"},
		{"cut", example[:len(example)-9], "is not JSON"},
		{"no JSON", `<html>`, "not an object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if n, err := nodeOf(tt.in, ""); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v, %v, want %q", n, err, tt.want)
			}
		})
	}
}

// TestRouting: rules become heki's lines, outbounds the ones that carry them.
func TestRouting(t *testing.T) {
	n, err := nodeOf(`{"code":200,"data":{"protocols":[{"enable":true,"type":"vmess","port":1}],
		"block":["keyword:torrent"," suffix:bad.test ","regex:^ads[0-9]","exact.test","full:part.test","keyword:*","keyword:","geoip:cn:x"],
		"dns":[{"proto":"udp","address":"192.0.2.53","domains":["one.test"]},{"proto":"https","address":"dns.test/dns-query"},{"proto":"tls","address":"192.0.2.54","domains":[" "]}],
		"outbound":[
			{"name":"home","protocol":"direct","rules":["suffix:home.test"]},
			{"name":"gone","protocol":"reject","rules":["suffix:gone.test"]},
			{"name":"hk","protocol":"socks","address":"192.0.2.1","port":1080,"user":"u","password":"p","rules":["keyword:video"]},
			{"name":"hk","protocol":"socks","address":"192.0.2.9","port":1080,"rules":["keyword:second"]},
			{"name":"ss","protocol":"shadowsocks","address":"192.0.2.2","port":8388,"password":"p","uot":true,"rules":["ss.test"]},
			{"name":"tr","protocol":"trojan","address":"192.0.2.3","port":443,"password":"p","security":"tls","sni":"t.test","allow_insecure":true,"transport":"grpc","service_name":"svc","rules":["tr.test"]},
			{"name":"vl","protocol":"vless","address":"192.0.2.4","port":443,"uuid":"`+uuid1+`","flow":"none","security":"tls","transport":"ws","host":"h.test","path":"/p","rules":["vl.test"]},
			{"name":"vm","protocol":"VMess","address":"192.0.2.5","port":80,"password":"`+uuid1+`","cipher":"aes-128-gcm","transport":"httpupgrade","path":"/u","rules":["vm.test"]},
			{"name":"raw","protocol":"freedom","settings":"{\"redirect\":\"192.0.2.6:80\"}","rules":["raw.test"]},
			{"name":"reality","protocol":"vless","address":"192.0.2.7","port":443,"uuid":"`+uuid1+`","security":"reality","rules":["reality.test"]},
			{"name":"flow","protocol":"vless","address":"192.0.2.7","port":443,"uuid":"`+uuid1+`","flow":"xtls-rprx-vision","rules":["flow.test"]},
			{"name":"any","protocol":"anytls","address":"192.0.2.8","port":443,"password":"p","rules":["any.test"]},
			{"name":"bad","protocol":"http","settings":"{","rules":["bad.test"]},
			{"name":"idle","protocol":"wireguard"}
		]}}`, "")
	if err != nil {
		t.Fatal(err)
	}
	r, problems := n.Routing()
	var got []string
	for _, rule := range r.Rules {
		got = append(got, fmt.Sprintf("%q -> %s broken=%t", rule.Lines, rule.Outbound, rule.Broken != ""))
	}
	want := []string{
		`["torrent" "domain:bad.test" "regexp:^ads[0-9]" "full:exact.test" "part.test" "regexp:\\*" "regexp:cn:x"] ->  broken=false`,
		`["domain:home.test"] -> home broken=false`, `["domain:gone.test"] -> gone broken=false`,
		`["video"] -> hk broken=false`, `["second"] -> hk broken=false`, `["full:ss.test"] -> ss broken=false`, `["full:tr.test"] -> tr broken=false`,
		`["full:vl.test"] -> vl broken=false`, `["full:vm.test"] -> vm broken=false`, `["full:raw.test"] -> raw broken=false`,
		`["full:reality.test"] -> reality broken=true`, `["full:flow.test"] -> flow broken=true`,
		`["full:any.test"] -> any broken=true`, `["full:bad.test"] -> bad broken=true`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("rules are\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	got = nil
	for _, o := range r.Outbounds {
		got = append(got, o.Tag+" "+o.Type)
	}
	if want := []string{"home direct", "gone block", "hk socks", "ss shadowsocks", "tr trojan", "vl vless", "vm vmess", "raw redirect"}; !reflect.DeepEqual(got, want) {
		t.Errorf("outbounds are %q, want %q", got, want)
	}
	if ss := r.Outbounds[3].Options.(*option.ShadowsocksOutbound); ss.Method != "chacha20-ietf-poly1305" || ss.Server != "192.0.2.2" || ss.ServerPort != 8388 {
		t.Errorf("%+v", ss)
	}
	if tr := r.Outbounds[4].Options.(*option.TrojanOutbound); tr.TLS == nil || !tr.TLS.Insecure || tr.TLS.ServerName != "t.test" || tr.Transport.ServiceName != "svc" {
		t.Errorf("%+v", tr)
	}
	if hk := r.Outbounds[2].Options.(*option.SocksOutbound); hk.Username != "u" || hk.Password != "p" || hk.Server != "192.0.2.1" {
		t.Errorf("%+v", hk)
	}
	dns := []panel.DNSRule{
		{ID: 2, Lines: []string{"full:one.test"}, Servers: []string{"192.0.2.53"}},
		{ID: 3, Servers: []string{"https://dns.test/dns-query"}},
	}
	if len(r.DNS) != 2 || !reflect.DeepEqual(r.DNS[0], dns[0]) || r.DNS[1].Servers[0] != dns[1].Servers[0] || len(r.DNS[1].Lines) != 0 {
		t.Errorf("dns is %+v, want %+v", r.DNS, dns)
	}
	if text := strings.Join(problems, "; "); !strings.Contains(text, `"reality"`) || !strings.Contains(text, "closed") {
		t.Errorf("problems are %q", problems)
	}
}

// FuzzServer: an answer is understood whole or not at all, and its node can be served by its own word.
func FuzzServer(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(with(`"type":"vless","port":443`)))
	f.Add([]byte(`{"code":200,"data":{"block":{"0":"a"},"outbound":[{"name":"x","rules":"a\nb","protocol":"direct"}],"protocols":[{"enable":1,"type":"ss","port":"1"}]}}`))
	f.Add([]byte(`{"code":404}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := nodeOf(string(body), "")
		if err != nil {
			return
		}
		if n.Port == 0 || n.Protocol == "" {
			t.Errorf("a node without a port or protocol: %+v", n)
		}
		again, err := nodeOf(string(body), n.Protocol)
		if err != nil || !reflect.DeepEqual(n, again) {
			t.Errorf("by its type: %+v, %v, want %+v", again, err, n)
		}
		n.Routing()
		for _, text := range n.CustomOutbounds {
			if err := phpjson.Decode([]byte(text), func(it *jsoniter.Iterator) { it.Skip() }); err != nil {
				t.Errorf("outbound %q: %v", text, err)
			}
		}
	})
}

package foreign

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"heki/option"
)

const id = "b831381d-6324-4d53-ad4f-8cda48b30811"

// remoteOf is a server with the defaults that validating fills in.
func remoteOf(server string, port uint16) option.Remote {
	return option.Remote{Server: server, ServerPort: port, Dial: option.Dial{ConnectTimeout: option.Duration(5 * time.Second)}}
}

func tlsOf(t option.ClientTLS) *option.ClientTLS {
	t.Enabled, t.HandshakeTimeout = true, option.Duration(10*time.Second)
	return &t
}

// TestOutbound: Xray's protocols in both of its shapes, and sing-box's objects.
func TestOutbound(t *testing.T) {
	timeout := option.Dial{ConnectTimeout: option.Duration(5 * time.Second)}
	xudp := option.PacketEncodingXUDP
	for _, tt := range []struct {
		name, in string
		want     option.Outbound
	}{
		{"freedom", `{"tag":"out","protocol":"freedom"}`, option.Outbound{Type: "direct", Tag: "out", Options: &option.Direct{Dial: timeout}}},
		{
			"freedom from an address", `{"protocol":"freedom","sendThrough":"192.0.2.7","settings":{"domainStrategy":"UseIP","userLevel":0}}`,
			option.Outbound{Type: "direct", Options: &option.Direct{Dial: option.Dial{ConnectTimeout: timeout.ConnectTimeout, Inet4BindAddress: "192.0.2.7"}}},
		},
		{
			"freedom over IPv6", `{"protocol":"freedom","settings":{"domainStrategy":"UseIPv6"}}`,
			option.Outbound{Type: "direct", Options: &option.Direct{DomainStrategy: "ipv6_only", Dial: timeout}},
		},
		{
			"freedom over IPv4 at first", `{"protocol":"freedom","targetStrategy":"ForceIPv4v6"}`,
			option.Outbound{Type: "direct", Options: &option.Direct{DomainStrategy: "ipv4_first", Dial: timeout}},
		},
		{
			"freedom from the client's", `{"protocol":"Freedom","sendThrough":"origin","settings":[],"streamSettings":{"sockopt":{"mark":255,"tcpFastOpen":true,"tcpKeepAliveIdle":100}}}`,
			option.Outbound{Type: "direct", Options: &option.Direct{Bind: "inbound", Dial: option.Dial{ConnectTimeout: timeout.ConnectTimeout, RoutingMark: 255, TCPFastOpen: true}}},
		},
		{
			"redirect", `{"tag":"r","protocol":"freedom","settings":{"redirect":"127.0.0.1:3366"}}`,
			option.Outbound{Type: "redirect", Tag: "r", Options: &option.RedirectOutbound{Direct: option.Direct{Dial: timeout}, Server: "127.0.0.1", ServerPort: 3366}},
		},
		{"blackhole", `{"tag":"b","protocol":"blackhole","settings":{"response":{"type":"http"}}}`, option.Outbound{Type: "block", Tag: "b", Options: &option.Block{}}},
		{
			"socks", `{"tag":"nf","protocol":"socks","settings":{"servers":[{"address":"1.2.3.4","port":1080}]}}`,
			option.Outbound{Type: "socks", Tag: "nf", Options: &option.SocksOutbound{Remote: remoteOf("1.2.3.4", 1080), Version: "5"}},
		},
		{
			"socks with a user", `{"protocol":"socks","settings":{"servers":[{"address":"s.test","port":"1080","users":[{"user":"u","pass":"p","level":0}]}]}}`,
			option.Outbound{Type: "socks", Options: &option.SocksOutbound{Remote: remoteOf("s.test", 1080), Version: "5", Username: "u", Password: "p"}},
		},
		{
			"socks, flat", `{"protocol":"socks","settings":{"address":"s.test","port":1080,"user":"u","pass":"p","email":"e"}}`,
			option.Outbound{Type: "socks", Options: &option.SocksOutbound{Remote: remoteOf("s.test", 1080), Version: "5", Username: "u", Password: "p"}},
		},
		{
			"http over TLS", `{"protocol":"http","settings":{"servers":[{"address":"h.test","port":443,"users":[{"user":"u","pass":"p"}]}],"headers":{"X-A":"b"}},"streamSettings":{"security":"tls","tlsSettings":{"serverName":"x.test","alpn":["http/1.1"],"fingerprint":"firefox"}}}`,
			option.Outbound{Type: "http", Options: &option.HTTPOutbound{
				Remote: remoteOf("h.test", 443), Username: "u", Password: "p", Headers: map[string]option.Listable[string]{"X-A": {"b"}},
				TLS: tlsOf(option.ClientTLS{ServerName: "x.test", ALPN: option.Listable[string]{"http/1.1"}, UTLS: &option.UTLS{Enabled: true, Fingerprint: "firefox"}}),
			}},
		},
		{
			"shadowsocks", `{"protocol":"shadowsocks","settings":{"servers":[{"address":"h.test","port":8388,"method":"AES-128-GCM","password":"p","uot":false,"level":1}]}}`,
			option.Outbound{Type: "shadowsocks", Options: &option.ShadowsocksOutbound{Remote: remoteOf("h.test", 8388), Method: "aes-128-gcm", Password: "p"}},
		},
		{
			"shadowsocks, flat", `{"protocol":"shadowsocks","settings":{"address":"h.test","port":8388,"method":"chacha20-poly1305","password":"p"}}`,
			option.Outbound{Type: "shadowsocks", Options: &option.ShadowsocksOutbound{Remote: remoteOf("h.test", 8388), Method: "chacha20-ietf-poly1305", Password: "p"}},
		},
		{
			"trojan over grpc", `{"protocol":"trojan","settings":{"servers":[{"address":"h.test","port":443,"password":"p"}]},"streamSettings":{"network":"grpc","security":"tls","tlsSettings":{"allowInsecure":true},"grpcSettings":{"serviceName":"g","multiMode":true,"idle_timeout":60}}}`,
			option.Outbound{Type: "trojan", Options: &option.TrojanOutbound{
				Remote: remoteOf("h.test", 443), Password: "p",
				Carrier: option.Carrier{TLS: tlsOf(option.ClientTLS{Insecure: true}), Transport: &option.Transport{Type: "grpc", ServiceName: "g", IdleTimeout: option.Duration(time.Minute)}},
			}},
		},
		{
			"trojan, flat", `{"protocol":"trojan","settings":{"address":"h.test","port":443,"password":"p"},"mux":{"enabled":true,"concurrency":8}}`,
			option.Outbound{Type: "trojan", Options: &option.TrojanOutbound{Remote: remoteOf("h.test", 443), Password: "p"}},
		},
		{
			"vmess over ws", `{"protocol":"vmess","settings":{"vnext":[{"address":"h.test","port":80,"users":[{"id":"` + id + `","alterId":"0","security":"auto","level":8}]}]},"streamSettings":{"network":"ws","security":"none","wsSettings":{"path":"/x?ed=2048","headers":{"Host":"cdn.test"}},"tcpSettings":{"header":{"type":"http"}},"realitySettings":{"publicKey":"x"}}}`,
			option.Outbound{Type: "vmess", Options: &option.VMessOutbound{
				Remote: remoteOf("h.test", 80), UUID: id, Security: "auto",
				Carrier: option.Carrier{Transport: &option.Transport{Type: "ws", Path: "/x", Host: option.Listable[string]{"cdn.test"}, MaxEarlyData: 2048, EarlyDataHeaderName: "Sec-WebSocket-Protocol"}},
			}},
		},
		{
			"vless over h2", `{"protocol":"vless","settings":{"vnext":[{"address":"h.test","port":443,"users":[{"id":"` + id + `","encryption":"none","flow":""}]}]},"streamSettings":{"network":"h2","security":"tls","httpSettings":{"host":["a.test","b.test"],"path":"/h"}}}`,
			option.Outbound{Type: "vless", Options: &option.VLESSOutbound{
				Remote: remoteOf("h.test", 443), UUID: id, PacketEncoding: &xudp,
				Carrier: option.Carrier{TLS: tlsOf(option.ClientTLS{}), Transport: &option.Transport{Type: "http", Path: "/h", Host: option.Listable[string]{"a.test", "b.test"}}},
			}},
		},
		{
			"vless, flat, over httpupgrade", `{"protocol":"vless","settings":{"address":"h.test","port":80,"id":"` + id + `","encryption":"none"},"streamSettings":{"network":"httpupgrade","httpupgradeSettings":{"host":"u.test","path":"/u"}}}`,
			option.Outbound{Type: "vless", Options: &option.VLESSOutbound{
				Remote: remoteOf("h.test", 80), UUID: id, PacketEncoding: &xudp,
				Carrier: option.Carrier{Transport: &option.Transport{Type: "httpupgrade", Path: "/u", Host: option.Listable[string]{"u.test"}}},
			}},
		},
		{
			"vmess with an http header", `{"protocol":"vmess","settings":{"address":"h.test","port":80,"id":"` + id + `"},"streamSettings":{"network":"raw","rawSettings":{"header":{"type":"http","request":{"version":"1.1","method":"GET","path":["/a","/b"],"headers":{"Host":["c.test"],"User-Agent":["x"]}},"response":{"status":"200"}}}}}`,
			option.Outbound{Type: "vmess", Options: &option.VMessOutbound{
				Remote: remoteOf("h.test", 80), UUID: id, Security: "auto",
				Carrier: option.Carrier{Transport: &option.Transport{Type: "tcp_http_header", Path: "/", Method: "GET", Paths: option.Listable[string]{"/a", "/b"}, Host: option.Listable[string]{"c.test"}, Headers: map[string]option.Listable[string]{"User-Agent": {"x"}}}},
			}},
		},
		{
			"sing-box socks", `{"type":"socks","tag":"s","server":"1.2.3.4","server_port":1080,"version":"5"}`,
			option.Outbound{Type: "socks", Tag: "s", Options: &option.SocksOutbound{Remote: remoteOf("1.2.3.4", 1080), Version: "5"}},
		},
		{
			"sing-box trojan", `{"type":"trojan","server":"h.test","server_port":443,"password":"p","tls":{"enabled":true,"server_name":"x.test"}}`,
			option.Outbound{Type: "trojan", Options: &option.TrojanOutbound{Remote: remoteOf("h.test", 443), Password: "p", Carrier: option.Carrier{TLS: tlsOf(option.ClientTLS{ServerName: "x.test"})}}},
		},
		{"sing-box direct", `{"type":"direct","tag":"d"}`, option.Outbound{Type: "direct", Tag: "d", Options: &option.Direct{Dial: timeout}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Outbound(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v %+v\nwant %+v %+v", got, got.Options, tt.want, tt.want.Options)
			}
			for i := range len(tt.in) {
				if _, err := Outbound(tt.in[:i]); err == nil {
					t.Fatalf("prefix of %d bytes was taken", i)
				}
			}
		})
	}
}

// TestOutboundRefused: what cannot be served is named, and credentials are not.
func TestOutboundRefused(t *testing.T) {
	vless := func(more string) string {
		return `{"protocol":"vless","settings":{"address":"h.test","port":443,"id":"` + id + `"` + more
	}
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", ``, "is no object of JSON"},
		{"a list", `[]`, "is no object of JSON"},
		{"no protocol", `{"tag":"x"}`, "protocol is \"\", must be freedom"},
		{"unknown protocol", `{"protocol":"wireguard","settings":{"secretKey":"secret"}}`, `protocol is "wireguard", must be freedom, blackhole, socks`},
		{"chained", `{"protocol":"freedom","proxySettings":{"tag":"x"}}`, "proxySettings is not served"},
		{"dialer proxy", `{"protocol":"freedom","streamSettings":{"sockopt":{"dialerProxy":"x"}}}`, "streamSettings.sockopt.dialerProxy is not served"},
		{"no strategy", `{"protocol":"freedom","settings":{"domainStrategy":"UseIPv5"}}`, `settings.domainStrategy is "UseIPv5", must be AsIs, UseIP`},
		{"fragments", `{"protocol":"freedom","settings":{"fragment":{"packets":"tlshello"}}}`, "settings.fragment is not served"},
		{"redirect to a port", `{"protocol":"freedom","settings":{"redirect":":80"}}`, "settings.redirect is \":80\""},
		{"send through a network", `{"protocol":"freedom","sendThrough":"192.0.2.0/24"}`, "sendThrough is \"192.0.2.0/24\""},
		{"two servers", `{"protocol":"socks","settings":{"servers":[{"address":"a","port":1},{"address":"b","port":1}]}}`, "settings.servers has 2 entries"},
		{"no server", `{"protocol":"socks"}`, "server: is required"},
		{"reality", vless(`},"streamSettings":{"security":"reality","realitySettings":{"publicKey":"secret"}}}`), `streamSettings.security is "reality", must be none or tls`},
		{"flow", vless(`,"flow":"xtls-rprx-vision"}}`), "settings.flow is not served"},
		{"encryption", vless(`,"encryption":"mlkem768x25519plus.native.0rtt.secret"}}`), "settings.encryption is not served"},
		{"xhttp", vless(`},"streamSettings":{"network":"xhttp"}}`), `streamSettings.network is "xhttp"`},
		{"pinned certificate", vless(`},"streamSettings":{"security":"tls","tlsSettings":{"pinnedPeerCertSha256":"secret"}}}`), "tlsSettings.pinnedPeerCertSha256 is not served"},
		{"grpc authority", vless(`},"streamSettings":{"network":"grpc","grpcSettings":{"authority":"a.test"}}}`), "grpcSettings.authority is not served"},
		{"udp over tcp", `{"protocol":"shadowsocks","settings":{"servers":[{"address":"a","port":1,"method":"aes-128-gcm","password":"secret","uot":true}]}}`, "settings.servers[0].uot is not served"},
		{"shadowsocks over ws", `{"protocol":"shadowsocks","settings":{"address":"a","port":1,"method":"aes-128-gcm","password":"secret"},"streamSettings":{"network":"ws"}}`, "must be tcp with this protocol"},
		{"socks over TLS", `{"protocol":"socks","settings":{"address":"a","port":1},"streamSettings":{"security":"tls"}}`, "security must be none with this protocol"},
		{"a bad method", `{"protocol":"shadowsocks","settings":{"address":"a","port":1,"method":"rot13","password":"secret"}}`, "method"},
		{"an unknown member", `{"protocol":"freedom","settings":{"newThing":1}}`, "settings.newThing is not served"},
		{"a member twice", `{"protocol":"freedom","Protocol":"socks"}`, "is set twice"},
		{"sing-box: unknown type", `{"type":"wireguard","tag":"x"}`, `"wireguard" is not served`},
		{"sing-box: group", `{"type":"group","tag":"x","outbounds":["a"]}`, "is not taken from a panel"},
		{"sing-box: detour", `{"type":"direct","detour":"x"}`, "detour"},
		{"sing-box: unknown member", `{"type":"direct","bindd":"b"}`, "bindd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Outbound(tt.in)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("err = %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "secret") && !strings.Contains(err.Error(), "secretKey") || strings.Contains(err.Error(), id) {
				t.Errorf("err = %v shows a credential", err)
			}
		})
	}
}

// TestReadRule: what holds together stays together.
func TestReadRule(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     Rule
		err      string
	}{
		{
			"xray domains", `{"type":"field","domain":["domain:a.org","full:b.org","keyword:c","d","regexp:^e,f$","geosite:netflix"],"outboundTag":"x"}`,
			Rule{Lines: []string{"domain:a.org", "full:b.org", "c", "d", "regexp:^e,f$", "geosite:netflix"}, Outbound: "x"},
			"",
		},
		{
			"xray all", `{"type":"field","ruleTag":"r","domain":"a.org,b.org","ip":["1.2.3.0/24","geoip:cn","2001:db8::1"],"port":"53,443,1000-2000","network":"UDP","protocol":["quic"],"outboundTag":"x"}`,
			Rule{Lines: []string{"a.org", "b.org"}, And: [][]string{{"ip:1.2.3.0/24", "geoip:cn", "ip:2001:db8::1"}, {"port:53", "port:443", "port:1000-2000"}, {"network:udp"}, {"protocol:quic"}}, Outbound: "x"},
			"",
		},
		{"xray everything", `{"type":"field","network":"tcp,udp","outboundTag":"x"}`, Rule{Lines: []string{"*"}, Outbound: "x"}, ""},
		{"xray both networks", `{"port":443,"network":"tcp,udp","outboundTag":"x"}`, Rule{Lines: []string{"port:443"}, Outbound: "x"}, ""},
		{"xray balancer", `{"type":"field","domain":["a"],"balancerTag":"b"}`, Rule{}, "balancerTag is not served"},
		{"xray source", `{"type":"field","domain":["a"],"source":["10.0.0.0/8"],"outboundTag":"x"}`, Rule{}, "source is not served"},
		{"xray, no condition", `{"type":"field","outboundTag":"x"}`, Rule{}, "a condition is required"},
		{
			"sing-box", `{"domain":["a.org"],"domain_suffix":["b.org",".c.org"],"domain_keyword":"d","domain_regex":["^e{1,2}$"],"geosite":"netflix","ip_cidr":["10.0.0.0/8"],"geoip":["cn"],"ip_is_private":true,"outbound":"x"}`,
			Rule{Lines: []string{"full:a.org", "domain:b.org", `regexp:\.c\.org$`, "d", "regexp:^e{1,2}$", "geosite:netflix", "ip:10.0.0.0/8", "geoip:cn", "geoip:private"}, Outbound: "x"},
			"",
		},
		{
			"sing-box ports", `{"port":[80,443],"port_range":["1000:2000",":10","60000:"],"network":["udp"],"protocol":"dns","action":"route","outbound":"x"}`,
			Rule{Lines: []string{"port:80", "port:443", "port:1000-2000", "port:1-10", "port:60000-65535"}, And: [][]string{{"network:udp"}, {"protocol:dns"}}, Outbound: "x"},
			"",
		},
		{"sing-box reject", `{"domain":"a.org","action":"reject","method":"drop"}`, Rule{Lines: []string{"full:a.org"}}, ""},
		{"sing-box sniff", `{"action":"sniff"}`, Rule{}, `action is "sniff", must be route or reject`},
		{"sing-box logical", `{"type":"logical","mode":"and","rules":[{"domain":"a"}],"outbound":"x"}`, Rule{}, `type is "logical"`},
		{"sing-box invert", `{"domain":"a.org","invert":true,"outbound":"x"}`, Rule{}, "invert is not served"},
		{"sing-box, a set", `{"rule_set":["a"],"outbound":"x"}`, Rule{}, "rule_set is not served"},
		{"nothing", `{}`, Rule{}, "outbound is required"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ReadRule(tt.in)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("err = %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, tt.want)
			}
		})
	}
}

func TestSplit(t *testing.T) {
	for in, want := range map[string][]string{
		`{"a":1}`: {`{"a":1}`}, `[{"a":1},{"b":2}]`: {`{"a":1}`, `{"b":2}`}, `[]`: nil, `null`: nil,
		`{"0":{"a":1},"2":{"b":2}}`: {`{"a":1}`, `{"b":2}`}, `{"a":1,"b":{}}`: {`{"a":1,"b":{}}`}, `{}`: {`{}`},
	} {
		if got, err := Split(in); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v", in, got, err)
		}
	}
	if _, err := Split(`[{"a":1}`); err == nil {
		t.Error("a cut list was taken")
	}
}

// FuzzOutbound: what is taken is valid, stays so, and is read the same again.
func FuzzOutbound(f *testing.F) {
	f.Add(`{"tag":"nf","protocol":"socks","settings":{"servers":[{"address":"1.2.3.4","port":1080}]}}`)
	f.Add(`{"protocol":"vmess","settings":{"vnext":[{"address":"h.test","port":80,"users":[{"id":"` + id + `","alterId":0}]}]},"streamSettings":{"network":"ws","wsSettings":{"path":"/x?ed=2048","headers":{"Host":"a"}}}}`)
	f.Add(`{"protocol":"freedom","settings":{"redirect":"1.2.3.4:0"},"streamSettings":{"sockopt":{"mark":1}}}`)
	f.Add(`{"type":"trojan","server":"h","server_port":443,"password":"p","tls":{"enabled":true}}`)
	f.Fuzz(func(t *testing.T, in string) {
		got, err := Outbound(in)
		if err != nil {
			return
		}
		again, err := Outbound(in)
		if err != nil || !reflect.DeepEqual(got, again) {
			t.Errorf("read as %+v, then as %+v, %v", got.Options, again.Options, err)
		}
		if err := again.Options.Validate(""); err != nil || !reflect.DeepEqual(got, again) {
			t.Errorf("%s: %v; %+v became %+v", in, err, got.Options, again.Options)
		}
	})
}

// FuzzReadRule: what is taken has a condition, and no empty one, which would hold for everything.
func FuzzReadRule(f *testing.F) {
	f.Add(`{"type":"field","domain":["domain:a.org"],"port":"53,1000-2000","network":"tcp","outboundTag":"x"}`)
	f.Add(`{"domain_suffix":[".b.org"],"port_range":":10","action":"reject"}`)
	f.Fuzz(func(t *testing.T, in string) {
		r, err := ReadRule(in)
		if err != nil {
			return
		}
		for _, lines := range append([][]string{r.Lines}, r.And...) {
			if len(lines) == 0 || slices.Contains(lines, "") {
				t.Errorf("%s became %q", in, r)
			}
		}
	})
}

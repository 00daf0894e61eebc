package test

import (
	"fmt"
	"strings"
	"testing"

	"heki/test/harness"
)

// ssrLibevMethods are the ciphers of shadowsocks-libev 3.3 that ShadowsocksR has too; the last four are
// AEAD, those that it is used with behind simple-obfs.
var ssrLibevMethods = []string{
	"rc4-md5", "aes-128-cfb", "aes-192-cfb", "aes-256-cfb", "aes-128-ctr", "aes-192-ctr", "aes-256-ctr", "chacha20-ietf", "salsa20", "chacha20",
	"aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "chacha20-ietf-poly1305",
}

// TestShadowsocksRLibev drives Debian's shadowsocks-libev: origin is what it speaks. Its obfs-local says
// the host that is the user's.
func TestShadowsocksRLibev(t *testing.T) {
	for _, obfs := range []string{"plain", "simple_obfs_http", "simple_obfs_tls"} {
		harness.Cell(t, obfs, func(t testing.TB) { testSSRLibev(t, obfs) })
	}
}

func testSSRLibev(t testing.TB, obfs string) {
	mode, users, methods := "obfs", ssrUsers()[:2], ssrLibevMethods
	if obfs == "plain" { // which names nobody
		mode, users = "single_user", ssrUsers()[:1]
	} else {
		methods = append([]string{"aes-256-cfb", "chacha20-ietf"}, methods[10:]...)
	}
	plugin, err := harness.Binary(harness.ObfsLocal)
	if err != nil {
		t.Fatal(err)
	}
	var ports []harness.JSON
	var lanes []harness.Lane
	for _, method := range methods {
		p := ssrPort{method: method, protocol: "origin", obfs: obfs, port: harness.FreePort(t)}
		ports = append(ports, p.server(mode))
		for i, u := range users {
			l := harness.Lane{Name: fmt.Sprintf("%s-%d", method, i), Extra: harness.JSON{
				"server_port": p.port, "method": method, "password": ssrPassword,
			}}
			if name, ok := strings.CutPrefix(obfs, "simple_obfs_"); ok {
				l.Extra["plugin"], l.Extra["plugin_opts"] = plugin, fmt.Sprintf("obfs=%s;obfs-host=%d.users.example", name, u["id"])
			}
			lanes = append(lanes, l)
		}
	}
	in := ports[0]
	in["type"], in["tag"], in["listen"], in["ports"], in["users"] = "shadowsocksr", "in", harness.Loopback, ports[1:], users
	in["mu_regex"], in["mu_suffix"], in["ss_obfs_udp"] = "%id.%suffix", "users.example", true
	targets, heki := harness.StartTargets(t), harness.StartServer(t, in)
	c := harness.StartLibev(t, harness.Road{}, 0, lanes...)
	for i, l := range lanes {
		harness.Part(t, l.Name, func(t testing.TB) {
			seen := len(heki.Log())
			harness.CheckTCP(t, c.Socks(l.Name), targets, 256<<10)
			harness.CheckParallel(t, c.Socks(l.Name), targets, 10)
			harness.CheckUDP(t, c.Socks(l.Name), targets, harness.Full)
			who := "user=" + users[i%len(users)]["name"].(string) + " "
			heki.WaitFor(t, "closes as "+who, func() bool { return strings.Contains(heki.Log()[seen:], who) })
		})
	}
}

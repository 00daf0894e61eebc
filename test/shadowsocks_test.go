package test

import (
	"testing"

	"heki/test/harness"
)

// ssMethods are the methods of a client of Shadowsocks, AEAD and 2022. Those of one user only are for
// ssSingle.
func ssMethods(client string) []string {
	methods := []string{"aes-128-gcm", "aes-256-gcm", "chacha20-ietf-poly1305", "xchacha20-ietf-poly1305"}
	if client != harness.Xray { // which does not know it
		methods = append(methods, "aes-192-gcm")
	}
	if client != harness.SSLocal {
		methods = append(methods, "2022-blake3-aes-128-gcm", "2022-blake3-aes-256-gcm")
	}
	return methods
}

// ssLanes are one for each user; the first carries more.
func ssLanes(method string) []lane {
	var list []lane
	for _, u := range harness.Users() {
		l := lane{Lane: harness.Lane{Name: u.Name, User: u}, tcp: true, size: small, udp: harness.Full}
		list = append(list, l)
	}
	if method == "aes-128-gcm" || method == "2022-blake3-aes-128-gcm" {
		list[0].size = full
		return list
	}
	return list[:1]
}

// TestShadowsocks drives each method with several users on one port.
func TestShadowsocks(t *testing.T) {
	for _, client := range []string{harness.SingBox, harness.Xray, harness.Mihomo} {
		t.Run(client, func(t *testing.T) {
			for _, method := range ssMethods(client) {
				t.Run(method, func(t *testing.T) {
					t.Parallel()
					road := harness.Road{Protocol: "shadowsocks", Method: method}
					testLanes(t, client, road, harness.Users(), ssLanes(method))
				})
			}
		})
	}
}

// TestShadowsocksSingle has one user, who has no name: clients send no identity.
func TestShadowsocksSingle(t *testing.T) {
	for _, client := range []string{harness.SingBox, harness.Xray, harness.Mihomo} {
		t.Run(client, func(t *testing.T) {
			for _, method := range []string{"aes-128-gcm", "2022-blake3-aes-128-gcm", "2022-blake3-aes-256-gcm", "2022-blake3-chacha20-poly1305"} {
				t.Run(method, func(t *testing.T) {
					t.Parallel()
					road := harness.Road{Protocol: "shadowsocks", Method: method, Single: true}
					testLanes(t, client, road, harness.Users()[:1], ssLanes("")[:1])
				})
			}
		})
	}
}

// TestShadowsocksObfs puts simple-obfs before the streams.
func TestShadowsocksObfs(t *testing.T) {
	for _, client := range []string{harness.SingBox, harness.Mihomo} {
		t.Run(client, func(t *testing.T) {
			for _, method := range []string{"chacha20-ietf-poly1305", "2022-blake3-aes-128-gcm"} {
				t.Run(method, func(t *testing.T) {
					t.Parallel()
					road := harness.Road{Protocol: "shadowsocks", Method: method, Obfs: true}
					testLanes(t, client, road, harness.Users(), ssLanes(""))
				})
			}
		})
	}
}

// TestShadowsocksMultiplex has sing-mux inside.
func TestShadowsocksMultiplex(t *testing.T) {
	for _, method := range []string{"aes-128-gcm", "2022-blake3-aes-128-gcm"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			road := harness.Road{Protocol: "shadowsocks", Method: method, Multiplex: true}
			users := harness.Users()
			at := func(name string, user int) harness.Lane { return harness.Lane{Name: name, User: users[user]} }
			testLanes(t, harness.SingBox, road, users, singMuxLanes(at))
		})
	}
}

// TestShadowsocksLibev drives Debian's shadowsocks-libev, bare and behind obfs-local.
func TestShadowsocksLibev(t *testing.T) {
	roads := map[string]harness.Road{"obfs": {Protocol: "shadowsocks", Method: "aes-128-gcm", Obfs: true}}
	for _, method := range ssMethods(harness.SSLocal) {
		roads[method] = harness.Road{Protocol: "shadowsocks", Method: method}
	}
	for name, road := range roads {
		harness.Cell(t, name, func(t testing.TB) { testLibev(t, road) })
	}
}

func testLibev(t testing.TB, road harness.Road) {
	targets, cert, port := harness.StartTargets(t), harness.NewCertificate(t), harness.FreePort(t)
	harness.StartServer(t, road.Inbound(port, cert, harness.Users()))
	users := harness.Users()
	wrong := harness.Lane{Name: "wrong", User: harness.Stranger()}
	c := harness.StartLibev(t, road, port, harness.Lane{Name: "one", User: users[0]}, harness.Lane{Name: "two", User: users[1]}, wrong)
	for _, name := range []string{"one", "two"} {
		socks := c.Socks(name)
		harness.CheckTCP(t, socks, targets, small)
		harness.CheckParallel(t, socks, targets, 40)
		harness.CheckUDP(t, socks, targets, harness.Full)
	}
	harness.CheckRefused(t, c.Socks(wrong.Name), targets)
}

package harness

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"testing"
)

// is2022 says whether a method of Shadowsocks has keys instead of passwords.
func is2022(method string) bool { return strings.HasPrefix(method, "2022-") }

// ssKey is the password of text with method: itself, or a key of 2022 made from it.
func ssKey(method, text string) string {
	if !is2022(method) {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:ssKeySize(method)])
}

// ssKeySize is how many bytes a key of 2022 has.
func ssKeySize(method string) int {
	if strings.Contains(method, "aes-128") {
		return 16
	}
	return 32
}

// ssServer is the text of the server's own key.
const ssServer = "the key of the server"

// ssSecret is what a client of user is told: with 2022 also the server's key, unless its users are but
// one without a name.
func (r Road) ssSecret(user User) string {
	switch {
	case !is2022(r.Method):
		return user.Password
	case r.Single:
		return ssKey(r.Method, user.Password)
	}
	key := ssKey(r.Method, user.Password)
	if r.PanelKeys { // the first characters of the uuid, dashes included
		key = base64.StdEncoding.EncodeToString([]byte(user.UUID[:ssKeySize(r.Method)]))
	}
	return r.ServerKey() + ":" + key
}

// ServerKey is the server's own key with 2022, base64; else it is empty.
func (r Road) ServerKey() string {
	if !is2022(r.Method) {
		return ""
	}
	return ssKey(r.Method, ssServer)
}

// shadowsocks completes the entry of "inbounds".
func (r Road) shadowsocks(in JSON, users []User) {
	in["method"] = r.Method
	if r.Single {
		delete(in, "users")
		in["password"] = ssKey(r.Method, users[0].Password)
	} else {
		r.ssUsers(in, users)
	}
	if r.Obfs {
		in["obfs"] = JSON{"type": "http", "mode": "strict", "host": ServerName, "path": "/"}
	}
}

func (r Road) ssUsers(in JSON, users []User) {
	if is2022(r.Method) {
		in["password"] = r.ServerKey()
	}
	var list []JSON
	for _, u := range users {
		list = append(list, JSON{"name": u.Name, "password": ssKey(r.Method, u.Password)})
	}
	in["users"] = list
}

// StartLibev runs a ss-local of Debian's shadowsocks-libev for each lane, with obfs-local before it when
// the road has obfs.
func StartLibev(t testing.TB, road Road, port uint16, lanes ...Lane) *Client {
	t.Helper()
	c := &Client{ports: make(map[string]uint16)}
	for _, lane := range lanes {
		c.ports[lane.Name] = FreePort(t)
		config := JSON{
			"server": Loopback, "server_port": port, "local_address": Loopback, "local_port": c.ports[lane.Name],
			"password": lane.User.Password, "method": road.Method, "mode": "tcp_and_udp", "timeout": 60,
		}
		if road.Obfs {
			plugin, err := Binary(ObfsLocal)
			if err != nil {
				t.Fatal(err)
			}
			config["plugin"], config["plugin_opts"] = plugin, fmt.Sprintf("obfs=http;obfs-host=%s;obfs-uri=/", ServerName)
		}
		maps.Copy(config, lane.Extra)
		c.Process = Run(t, SSLocal, WriteConfig(t, config))
		c.WaitPort(t, Address(c.ports[lane.Name]))
	}
	return c
}

package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"heki/test/harness"
)

// ssrBill is a way of sharing and what its users bill.
type ssrBill struct {
	mode     string // of the port; "" is a port for each user
	protocol string
	obfs     string
}

// TestShadowsocksRBilling has two users at once in each way of sharing. Each is billed the payload that
// was moved, to the byte, TCP and UDP, and nothing of the other's.
func TestShadowsocksRBilling(t *testing.T) {
	for name, b := range map[string]ssrBill{
		"multi-port":                {"", "auth_aes128_md5", "http_post"},
		"multi-port-origin":         {"", "origin", "plain"},
		"protocol-auth_aes128_sha1": {"protocol", "auth_aes128_sha1", "plain"},
		"protocol-auth_chain_b":     {"protocol", "auth_chain_b", "plain"},
		// Datagrams have no obfs, so that the protocol says whose they are.
		"obfs-auth_aes128_md5": {"obfs", "auth_aes128_md5", "http_simple"},
		"obfs-auth_chain_a":    {"obfs", "auth_chain_a", "http_post"},
	} {
		harness.Cell(t, name, func(t testing.TB) { testSSRBill(t, b) })
	}
}

func testSSRBill(t testing.TB, b ssrBill) {
	targets, state := harness.StartTargets(t), t.TempDir()
	users := ssrUsers()[:2]
	common := ssrPort{method: "aes-256-cfb", protocol: b.protocol, obfs: b.obfs, port: harness.FreePort(t)}
	node := harness.JSON{"id": 1, "protocol": "shadowsocksr"}
	if b.mode != "" {
		node["ports"] = []harness.JSON{common.server(b.mode)}
	}
	var lanes []harness.Lane
	for i, u := range users {
		p, password := common, ssrPassword
		p.name, p.user, p.host = fmt.Sprint(i), i, fmt.Sprintf("%d.users.example", u["id"])
		param := p.uid()
		if b.mode == "" {
			p.port, password, param = harness.FreePort(t), u["password"].(string), ""
			u["port"], u["method"], u["protocol"], u["obfs"] = p.port, p.method, p.protocol, p.obfs
		}
		lanes = append(lanes, p.lane(password, param))
	}
	file := harness.WriteConfig(t, harness.JSON{"version": 1, "nodes": []harness.JSON{node}, "users": users})
	heki := harness.Run(t, harness.Heki, harness.WriteConfig(t, harness.JSON{
		"log": harness.JSON{"level": "debug"}, "state_dir": state,
		"panels": []harness.JSON{{
			"type": "local", "name": "files", "path": file,
			"node_defaults": harness.JSON{"listen": harness.Loopback},
			"nodes":         []harness.JSON{{"id": 1, "mu_regex": "%id.%suffix", "mu_suffix": "users.example"}},
		}},
	}))
	for _, l := range lanes {
		heki.WaitPort(t, harness.Address(l.Extra["port"].(uint16)))
	}
	c := harness.StartClient(t, harness.Mihomo, harness.Road{Protocol: "ssr"}, 0, harness.NewCertificate(t), lanes...)
	want := make(map[string]ssrSum)
	sizes := []int64{1 << 20, 123_457}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, u := range users {
		wg.Go(func() {
			up, down := harness.Bill(t, c.Socks(lanes[i].Name), targets, sizes[i])
			mu.Lock()
			defer mu.Unlock()
			want[fmt.Sprint(u["id"])] = ssrSum{u["name"].(string), up, down}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	if code, err := heki.Stop(); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	if got := ssrTotals(t, state); fmt.Sprint(got) != fmt.Sprint(want) {
		harness.Unforgivable(t)
		t.Errorf("billed %v, want %v", got, want)
	}
}

// ssrSum is what a user moved, as the local panel sums it.
type ssrSum struct {
	Name string
	Up   int64
	Down int64
}

// ssrTotals are the books of the only node, by user id.
func ssrTotals(t testing.TB, state string) map[string]ssrSum {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(state, "local", "*.json"))
	if len(files) != 1 {
		t.Fatalf("%d books in %s, want 1", len(files), state)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var books struct{ Users map[string]ssrSum }
	if err := json.Unmarshal(raw, &books); err != nil {
		t.Fatal(err)
	}
	return books.Users
}

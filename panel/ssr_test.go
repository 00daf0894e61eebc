package panel

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"heki/adapter"
	"heki/option"
)

func ssrNode() *Node {
	return &Node{Protocol: "shadowsocksr", Ports: []option.SSRExtraPort{
		{ListenPort: 12345, SSRPort: option.SSRPort{Method: "chacha20", Password: "p", Protocol: "auth_aes128_md5", Obfs: "plain", Mode: "protocol"}},
		{ListenPort: 23456, SSRPort: option.SSRPort{Method: "aes-128-gcm", Password: "q", Protocol: "origin", Obfs: "simple_obfs_http", Mode: "obfs"}},
	}}
}

// TestBuildSSR: what a panel cannot say is the entry's, and what defaults have for other nodes stays out.
func TestBuildSSR(t *testing.T) {
	no := false
	local := option.PanelNode{SSRSharing: option.SSRSharing{MuSuffix: "example.org", CIDLimit: &no}}
	local.Multiplex, local.TLS = &option.Multiplex{Enabled: true}, &option.TLS{CertificatePath: "c"}
	n := ssrNode()
	in := build("t", n, local)
	o := in.Options.(*option.ShadowsocksR)
	if err := o.Validate(""); err != nil {
		t.Error(err)
	}
	if o.MuSuffix != "example.org" || o.CountsClients() || o.ListenPort != 0 || o.Mode != option.SSRMultiPort || !slices.Equal(o.Ports, n.Ports) {
		t.Errorf("%+v", o)
	}
	if got := n.place(); got != "ports 12345, 23456" {
		t.Errorf("place is %q", got)
	}
	for text, change := range map[string]func(n *Node){
		"port is 80":      func(n *Node) { n.Port = 80 },
		"tls is 1":        func(n *Node) { n.TLS = TLSOn },
		`network "ws"`:    func(n *Node) { n.Network = "ws" },
		"only shadowsock": func(n *Node) { n.Protocol, n.Port = "shadowsocks", 80 },
	} {
		n := ssrNode()
		change(n)
		if err := n.Check(3); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("err = %v, want %q", err, text)
		}
	}
}

// TestFileKeeps: a snapshot gives back what went in, of users without a uuid and old ones of VMess too.
func TestFileKeeps(t *testing.T) {
	for name, tt := range map[string]struct {
		node *Node
		user adapter.Account
	}{
		"ssr": {ssrNode(), adapter.Account{
			ID: 12, Name: "12", Password: "xk2Lp9Qa", Port: 20012, IPLimit: 2, SpeedBytes: 125_000,
			SSR: adapter.SSR{Method: "rc4-md5", Protocol: "auth_chain_a", ProtocolParam: "32", Obfs: "http_simple", ObfsParam: "a.com"},
		}},
		"vmess": {&Node{Protocol: "vmess", Port: 1, AlterID: 4}, adapter.Account{ID: 1, Name: "1", UUID: [16]byte{1}, Password: "x", AlterID: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSnapshot(t.TempDir(), "t", 3)
			if err := s.save(tt.node, []adapter.Account{tt.user}, time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
			n, users, _, err := s.load()
			if err != nil || !reflect.DeepEqual(n, tt.node) || len(users) != 1 || users[0] != tt.user {
				t.Errorf("%+v, %+v, %v", n, users, err)
			}
		})
	}
}

package harness

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// JSON is an object of a configuration file.
type JSON = map[string]any

// User is one account. VLESS and VMess use UUID, Trojan uses Password.
type User struct {
	Name, UUID, Password string
	AlterID              int    // VMess: above 0 is MD5 authentication
	Flow                 string // VLESS
}

// Users are the accounts of every inbound of the matrix: more than one per port, on purpose.
func Users() []User {
	return []User{
		{Name: "alice", UUID: "b831381d-6324-4d53-ad4f-8cda48b30811", Password: "alice has a long password"},
		{Name: "bob", UUID: "2bf4bd27-9f5b-4a3c-8d1e-6f1f0b6c5a02", Password: "b"},
		{Name: "carol", UUID: "0d3f4b7c-6a58-4c8e-9d71-3c2a5e9f1b03", Password: "pässwörd/with?signs"},
	}
}

// Stranger is an account that no server knows.
func Stranger() User {
	return User{Name: "mallory", UUID: "ffffffff-ffff-4fff-bfff-ffffffffffff", Password: "nobody knows this"}
}

// Road is what a client and a server must agree on beside the account.
type Road struct {
	Protocol    string // vless, trojan, vmess
	TLS         bool
	Transport   string   // ws, httpupgrade, http, grpc, tcp_http_header; "" is plain TCP
	EarlyData   int      // bytes that may travel in the WebSocket request; 0 is none
	EarlyHeader string   // header that carries them; empty: the path does
	Multiplex   bool     // sing-mux is served
	Multi       bool     // Xray, grpc: several chunks in one message
	Reality     *Reality // in place of TLS; nil is none
	Method      string   // Shadowsocks
	Single      bool     // Shadowsocks: one user without a name
	PanelKeys   bool     // Shadowsocks 2022: users' keys are those that panels make of uuids
	Obfs        bool     // Shadowsocks: simple-obfs over HTTP
}

// Path of the HTTP transports, and the name of the gRPC service.
const (
	Path    = "/ray"
	Service = "ray"
)

// transport is sing-box's "transport", the same at both ends; nil for TCP.
func (r Road) transport() JSON {
	switch r.Transport {
	case "":
		return nil
	case "grpc":
		return JSON{"type": r.Transport, "service_name": Service}
	}
	t := JSON{"type": r.Transport, "path": Path}
	if r.EarlyData > 0 {
		t["max_early_data"] = r.EarlyData
		if r.EarlyHeader != "" {
			t["early_data_header_name"] = r.EarlyHeader
		}
	}
	return t
}

// Inbound is the entry of "inbounds" for the road, in the words that sing-box and heki share.
func (r Road) Inbound(port uint16, cert *Certificate, users []User) JSON {
	in := JSON{"type": r.Protocol, "tag": "in", "listen": Loopback, "listen_port": port}
	var list []JSON
	for _, u := range users {
		user := JSON{"name": u.Name}
		switch r.Protocol {
		case "trojan", "anytls", "hysteria2", "shadowsocks":
			user["password"] = u.Password
		case "vmess":
			user["uuid"], user["alterId"] = u.UUID, u.AlterID
		default:
			user["uuid"] = u.UUID
			if u.Flow != "" {
				user["flow"] = u.Flow
			}
		}
		list = append(list, user)
	}
	in["users"] = list
	if r.Protocol == "shadowsocks" {
		r.shadowsocks(in, users)
	}
	if r.TLS {
		in["tls"] = JSON{"enabled": true, "server_name": ServerName, "certificate_path": cert.CertPath, "key_path": cert.KeyPath}
	}
	if r.Reality != nil {
		in["tls"] = r.Reality.inbound()
	}
	if t := r.transport(); t != nil {
		in["transport"] = t
	}
	if r.Multiplex {
		in["multiplex"] = JSON{"enabled": true}
	}
	return in
}

// UnderTest is the program that serves: heki, or what HEKI_TEST_SERVER says.
func UnderTest() string {
	if name := os.Getenv("HEKI_TEST_SERVER"); name != "" {
		return name
	}
	return Heki
}

// StartServer runs the server under test with the inbounds, unchanged whichever program it is.
func StartServer(t testing.TB, inbounds ...JSON) *Process {
	t.Helper()
	config := JSON{"log": JSON{"level": "debug"}, "inbounds": inbounds}
	if UnderTest() == SingBox {
		config["dns"] = JSON{"servers": []JSON{{"type": "local", "tag": "local"}}, "strategy": "prefer_ipv4"}
		config["route"] = JSON{"default_domain_resolver": "local"}
	} else {
		config["state_dir"] = t.TempDir()
	}
	p := Run(t, UnderTest(), WriteConfig(t, config))
	for _, in := range inbounds {
		port := in["listen_port"].(uint16)
		switch in["network"] {
		case "udp":
			p.WaitUDP(t, port)
		case "tcp":
			p.WaitPort(t, Address(port))
		default:
			p.WaitInbound(t, in["type"].(string), port)
		}
	}
	return p
}

// Run starts heki, sing-box, Xray, V2Ray or mihomo with a configuration file.
func Run(t testing.TB, name, config string) *Process {
	t.Helper()
	path, err := binaryOf(name)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"run", "-c", config}
	switch name {
	case SingBox:
		args = append(args, "--disable-color")
	case V2Ray:
		args = []string{"-config", config}
	case Mihomo:
		args = []string{"-d", filepath.Dir(config), "-f", config}
	case SSLocal:
		args = []string{"-c", config}
	}
	return Start(t, name, path, args...)
}

func binaryOf(name string) (string, error) {
	if name == Heki {
		return HekiBinary()
	}
	return Binary(name)
}

// WriteConfig writes v as JSON into a new folder of the test and returns the file's path.
func WriteConfig(t testing.TB, v any) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	RewriteConfig(t, path, v)
	return path
}

// RewriteConfig writes v as JSON over the file at path.
func RewriteConfig(t testing.TB, path string, v any) {
	t.Helper()
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

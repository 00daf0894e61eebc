package panel

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"heki/option"
)

func TestFold(t *testing.T) {
	var f fold
	now := time.Unix(0, 0)
	said := 0
	for i := range 61 { // an hour, once a minute
		if line, ok := f.fail(now.Add(time.Duration(i)*time.Minute), "502 Bad Gateway"); ok {
			if said++; said == 2 && line != "still failing: 502 Bad Gateway (11 times)" {
				t.Errorf("line = %q", line)
			}
		}
	}
	if said != 7 {
		t.Errorf("said %d times in an hour, want 7", said)
	}
	if _, ok := f.fail(now, "timeout"); !ok {
		t.Error("another failure was not told")
	}
	if n := f.ok(); n != 62 {
		t.Errorf("%d failures, want 62", n)
	}
	if n := f.ok(); n != 0 {
		t.Errorf("%d failures after none", n)
	}
}

func TestBackoffTimes(t *testing.T) {
	for n, want := range []time.Duration{10, 10, 20, 40, 80, 160, 300, 300} {
		if got := backoff(10*time.Second, n); got != want*time.Second {
			t.Errorf("after %d: %s, want %ds", n, got, want)
		}
	}
	if got := backoff(10*time.Second, 1<<30); got != 5*time.Minute {
		t.Errorf("after many: %s", got)
	}
}

// TestBuild: the panel rules, the operator fills, and nothing is shared with the configuration.
func TestBuild(t *testing.T) {
	local := option.PanelNode{Stream: option.Stream{TLS: &option.TLS{CertificatePath: "c", KeyPath: "k"}, Limits: &option.Limits{UserIPs: 1}}}
	local.Listen.Listen = option.Listable[string]{"203.0.113.7"}
	plain := build("t", &Node{Protocol: "vless", Port: 80, ServerName: "x"}, local).Options.(*option.VLESS)
	if plain.TLS != nil || plain.Limits != nil || plain.Transport != nil || plain.ListenPort != 80 || plain.Stream.Listen.Listen[0] != "203.0.113.7" {
		t.Errorf("plain = %+v", plain)
	}
	secure := build("t", &Node{Protocol: "trojan", Port: 443, Carrier: Carrier{Network: "ws", Path: "/x"}, TLS: TLSOn, ServerName: "x"}, local).Options.(*option.Trojan)
	if !secure.TLS.Enabled || secure.TLS.CertificatePath != "c" || secure.TLS.ServerName != "x" || secure.Transport.Path != "/x" {
		t.Errorf("secure = %+v", secure)
	}
	for _, tt := range []struct {
		carrier Carrier
		want    option.Transport
	}{
		{Carrier{Network: "grpc", ServiceName: "g", Host: "h"}, option.Transport{Type: "grpc", ServiceName: "g"}},
		{Carrier{Network: "http", Path: "/x", Host: "h"}, option.Transport{Type: "http", Path: "/x"}},
		{Carrier{Network: "httpupgrade", Path: "/x"}, option.Transport{Type: "httpupgrade", Path: "/x"}},
		{Carrier{Network: "tcp_http_header", Paths: []string{"/a", "/b"}, Host: "h"}, option.Transport{Type: "tcp_http_header", Paths: option.Listable[string]{"/a", "/b"}}},
	} {
		n := &Node{Protocol: "vmess", Port: 1, Carrier: tt.carrier, Multiplex: true, AlterID: 4}
		in := build("t", n, local)
		o := in.Options.(*option.VMess)
		if !reflect.DeepEqual(*o.Transport, tt.want) || !o.Multiplex.Enabled || o.Multiplex.Padding || !o.Legacy {
			t.Errorf("%+v became %+v", n, o)
		}
		if err := in.Options.Validate(""); err != nil {
			t.Error(err)
		}
	}
	behind := &Node{Protocol: "trojan", Port: 1, ProxyProtocol: true}
	if o := build("t", behind, local).Options.(*option.Trojan); o.ProxyProtocol != option.ProxyRequired {
		t.Errorf("the panel's PROXY protocol: %+v", o)
	}
	off := local
	off.ProxyProtocol = option.ProxyOff
	if o := build("t", behind, off).Options.(*option.Trojan); o.ProxyProtocol != option.ProxyOff {
		t.Errorf("the operator's PROXY protocol lost: %+v", o)
	}
	files := &Node{Protocol: "trojan", Port: 1, TLS: TLSOn, Cert: &Cert{Mode: "file", Path: "/c", KeyPath: "/k", RejectSNI: true}}
	if o := build("t", files, option.PanelNode{}).Options.(*option.Trojan).TLS; o.CertificatePath != "/c" || o.KeyPath != "/k" || !o.RejectUnknownSNI {
		t.Errorf("the panel's certificate: %+v", o)
	}
	if o := build("t", files, local).Options.(*option.Trojan).TLS; o.CertificatePath != "c" || o.KeyPath != "k" {
		t.Errorf("the operator's certificate lost: %+v", o)
	}
	if local.TLS.Enabled || local.TLS.ServerName != "" {
		t.Error("the configuration was written to")
	}
}

// TestBuildHysteria2: what no panel says is the operator's, and a copy of it.
func TestBuildHysteria2(t *testing.T) {
	local := option.PanelNode{Hysteria2Local: option.Hysteria2Local{
		ListenPorts: option.Listable[string]{"20000-30000"}, MasqueradePort: 443, BBRProfile: "aggressive",
		Masquerade: &option.Masquerade{Type: option.MasqueradeString, Headers: map[string]option.Listable[string]{"Server": {"nginx"}}},
	}}
	n := &Node{Protocol: "hysteria2", Port: 443, TLS: TLSOn, Obfs: &Obfs{Type: option.ObfsSalamander, Password: "secret"}}
	o := build("t", n, local).Options.(*option.Hysteria2)
	if !reflect.DeepEqual(o.Hysteria2Local, local.Hysteria2Local) || o.Obfs.Password != "secret" {
		t.Errorf("got %+v", o)
	}
	o.ListenPorts[0], o.Masquerade.Type, o.Masquerade.Headers["Server"] = "1", "", nil
	if local.ListenPorts[0] != "20000-30000" || local.Masquerade.Type == "" || local.Masquerade.Headers["Server"] == nil {
		t.Error("the configuration was written to")
	}
}

// TestBuildReality: a certificate for other nodes does not disturb, and the operator's word wins.
func TestBuildReality(t *testing.T) {
	const key = "UuMBgl7MXTPx9inmQp2UC7Jcnwc6XYbwDNebonM-FCc"
	n := &Node{Protocol: "vless", Port: 443, TLS: TLSReality, ServerName: "www.example.com", Reality: &Reality{
		Server: "www.example.com", ServerPort: 8443, ServerNames: []string{"www.example.com"}, PrivateKey: key, ShortIDs: []string{"0123abcd"},
	}}
	if err := n.Check(3); err != nil {
		t.Fatal(err)
	}
	local := option.PanelNode{Stream: option.Stream{TLS: &option.TLS{CertificatePath: "c", KeyPath: "k", Reality: &option.Reality{MaxTimeDifference: option.Duration(time.Minute)}}}}
	in := build("t", n, local)
	if err := in.Options.Validate(""); err != nil {
		t.Fatal(err)
	}
	o := in.Options.(*option.VLESS)
	want := option.Reality{
		Enabled: true, Handshake: option.RealityTarget{Server: "www.example.com", ServerPort: 8443}, PrivateKey: key,
		ShortID: option.Listable[string]{"0123abcd"}, ServerNames: option.Listable[string]{"www.example.com"}, MaxTimeDifference: option.Duration(time.Minute),
	}
	if !o.TLS.HasReality() || o.TLS.CertificatePath != "" || !reflect.DeepEqual(*o.TLS.Reality, want) {
		t.Errorf("got %+v", o.TLS.Reality)
	}
	local.TLS.Reality.Handshake = option.RealityTarget{Server: "127.0.0.1", ServerPort: 443, Xver: 1}
	o = build("t", n, local).Options.(*option.VLESS)
	if o.TLS.Reality.Handshake != local.TLS.Reality.Handshake {
		t.Errorf("the operator's target is %+v", o.TLS.Reality.Handshake)
	}
	n.TLS, n.Reality = TLSOn, nil
	if o = build("t", n, local).Options.(*option.VLESS); o.TLS.Reality != nil || o.TLS.CertificatePath != "c" {
		t.Errorf("TLS became %+v", o.TLS)
	}
	n.TLS = TLSReality
	if err := n.Check(3); err == nil {
		t.Error("a node without settings passes")
	}
}

// FuzzParseFile: what is found in a file comes back from the snapshot written of it.
func FuzzParseFile(f *testing.F) {
	f.Add(`{"version":1,"nodes":[{"id":1,"protocol":"vless","port":443,"users":[{"id":1,"uuid":"b831381d-6324-4d53-ad4f-8cda48b30811","speed_limit_mbps":1.5}]}]}`)
	f.Add(`{"version":1,"nodes":[{"id":1,"protocol":"trojan","port":1,"network":"ws"}],"users":[{"id":7,"uuid":"x","name":"n"}]}`)
	f.Fuzz(func(t *testing.T, in string) {
		file, err := parseFile([]byte(in))
		if err != nil {
			return
		}
		n, accounts, err := file.Find(1)
		if err != nil {
			return
		}
		for _, a := range accounts {
			if a.ID <= 0 || a.Password == "" || a.Name == "" {
				t.Fatalf("taken: %+v", a)
			}
		}
		again, back, err := fileOf(1, n, accounts, time.Unix(0, 0)).Find(1)
		if err != nil || !slices.Equal(back, accounts) && n.Flow == "" || !reflect.DeepEqual(again, n) {
			t.Errorf("%+v %+v became %+v %+v, %v", n, accounts, again, back, err)
		}
	})
}

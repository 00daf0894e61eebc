package option

import (
	"strings"
	"testing"
)

func TestObfs(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Obfs
		want string // in the error; "" is none
	}{
		{"default", Obfs{Type: "http"}, ""},
		{"strict", Obfs{Type: "http", Mode: "strict", Host: Listable[string]{"a.example", "b.example"}, Path: "/p"}, ""},
		{"strict_path", Obfs{Type: "http", Mode: "strict_path"}, ""},
		{"empty members", Obfs{Type: "http", Mode: "relaxed", Host: Listable[string]{""}}, ""},
		{"strict with an empty host", Obfs{Type: "http", Mode: "strict", Host: Listable[string]{""}}, "obfs.host: is required"},
		{"an empty host of two", Obfs{Type: "http", Host: Listable[string]{"a", ""}}, `obfs.host[1]: is ""`},
		{"no type", Obfs{}, "obfs.type: is required: http"},
		{"tls", Obfs{Type: "tls"}, `obfs.type: is "tls"`},
		{"other type", Obfs{Type: "salamander"}, `obfs.type: is "salamander", must be http`},
		{"mode", Obfs{Type: "http", Mode: "loose"}, `obfs.mode: is "loose"`},
		{"strict without host", Obfs{Type: "http", Mode: "strict"}, "obfs.host: is required when mode is strict"},
		{"strict_host without host", Obfs{Type: "http", Mode: "strict_host"}, "obfs.host: is required when mode is strict_host"},
		{"bad host", Obfs{Type: "http", Host: Listable[string]{"a b"}}, `obfs.host: is "a b"`},
		{"bad path", Obfs{Type: "http", Path: "/a b"}, `obfs.path: is "/a b"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.o.Validate("obfs")
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("err = %v, want %q", err, tt.want)
			}
			if tt.o.Mode == "" {
				t.Error("no default mode")
			}
		})
	}
}

func TestPacket(t *testing.T) {
	for _, tt := range []struct {
		name string
		p    Packet
		want string
		tcp  bool
		udp  bool
	}{
		{"default", Packet{}, "", true, true},
		{"tcp", Packet{Network: Listable[string]{"tcp"}}, "", true, false},
		{"udp", Packet{Network: Listable[string]{"udp"}}, "", false, true},
		{"both", Packet{Network: Listable[string]{"tcp", "udp"}}, "", true, true},
		{"twice", Packet{Network: Listable[string]{"udp", "udp"}}, "in.network[1]: names udp again", false, true},
		{"unknown", Packet{Network: Listable[string]{"icmp"}}, `in.network: is "icmp", must be tcp or udp`, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.p.Validate("in")
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("err = %v, want %q", err, tt.want)
			}
			if tt.p.HasTCP() != tt.tcp || tt.p.HasUDP() != tt.udp {
				t.Errorf("tcp %t, udp %t", tt.p.HasTCP(), tt.p.HasUDP())
			}
		})
	}
}

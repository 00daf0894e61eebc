package trojan

import (
	"strings"
	"testing"

	"github.com/sagernet/sing/common/buf"

	"heki/internal/protocol/wire/wiretest"
)

func TestGoldenRequests(t *testing.T) {
	for _, tt := range []struct {
		name    string
		command Command
		dst     string
		payload string
	}{
		{"xray-tcp-domain", CommandTCP, "example.com:443", "GET"},
		{"sing-tcp-domain", CommandTCP, "example.com:443", "GET"},
		{"xray-udp-first-packet", CommandUDP, "1.2.3.4:53", frame("1.2.3.4:53", "query")},
		{"sing-udp-first-packet", CommandUDP, "1.2.3.4:53", frame("1.2.3.4:53", "query")},
	} {
		in := wiretest.Vector(t, "trojan", tt.name)
		req, n, err := ParseRequest([]byte(in))
		if err != nil || string(req.Key[:]) != key || req.Command != tt.command || req.Destination.String() != tt.dst {
			t.Errorf("%s: %+v, %v", tt.name, req, err)
		}
		if in[n:] != tt.payload {
			t.Errorf("%s: payload %q, want %q", tt.name, in[n:], tt.payload)
		}
		if out := string(AppendRequest(nil, req)); out != in[:n] {
			t.Errorf("%s: encoded as %q, want %q", tt.name, out, in[:n])
		}
	}
}

func TestGoldenFrame(t *testing.T) {
	in := wiretest.Vector(t, "trojan", "sing-udp-frame-ipv6")
	b := buf.NewSize(10)
	defer b.Release()
	addr, err := NewPacketConn(wiretest.New(strings.NewReader(in))).ReadPacket(b)
	if err != nil || addr.String() != "[2001:db8::1]:54" || string(b.Bytes()) != "other" {
		t.Errorf("%q for %s, %v", b.Bytes(), addr, err)
	}
	if got := frame("[2001:db8::1]:54", "other"); got != in {
		t.Errorf("encoded as %q, want %q", got, in)
	}
}

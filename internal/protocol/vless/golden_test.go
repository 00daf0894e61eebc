package vless

import (
	"strings"
	"testing"

	"github.com/sagernet/sing/common/buf"

	"heki/internal/protocol/wire/wiretest"
)

func TestGoldenRequests(t *testing.T) {
	for _, tt := range []struct {
		name, flow string
		command    Command
		dst        string
	}{
		{"xray-tcp-domain-vision", FlowVision, CommandTCP, "example.com:443"},
		{"xray-tcp-ipv4", "", CommandTCP, "1.2.3.4:80"},
		{"xray-udp-ipv6", "", CommandUDP, "[2001:db8::1]:53"},
		{"xray-mux", "", CommandMux, "v1.mux.cool:0"},
		{"sing-tcp-domain-vision", FlowVision, CommandTCP, "example.com:443"},
		{"sing-tcp-ipv6", "", CommandTCP, "[2001:db8::1]:443"},
		{"sing-mux", "", CommandMux, "v1.mux.cool:0"},
	} {
		in := wiretest.Vector(t, "vless", tt.name)
		req, n, err := ParseRequest([]byte(in))
		if err != nil || n != len(in) || string(req.UUID[:]) != rawUUID ||
			req.Flow != tt.flow || req.Command != tt.command || req.Destination.String() != tt.dst {
			t.Errorf("%s: %+v, %d of %d bytes, %v", tt.name, req, n, len(in), err)
		}
		if out := string(AppendRequest(nil, req)); out != in {
			t.Errorf("%s: encoded as %x, want %x", tt.name, out, in)
		}
	}
}

func TestGoldenPacket(t *testing.T) {
	in := wiretest.Vector(t, "vless", "sing-udp-first-packet")
	req, n, err := ParseRequest([]byte(in))
	if err != nil || req.Command != CommandUDP || req.Destination.String() != "1.2.3.4:53" {
		t.Fatalf("%+v, %v", req, err)
	}
	b := buf.NewSize(10)
	defer b.Release()
	c := NewPacketConn(wiretest.New(strings.NewReader(in[n:])), req.Destination)
	if _, err := c.ReadPacket(b); err != nil || string(b.Bytes()) != "query" {
		t.Errorf("%q, %v", b.Bytes(), err)
	}
}

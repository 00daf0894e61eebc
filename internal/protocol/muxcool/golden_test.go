package muxcool

import (
	"testing"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/wire/wiretest"
)

func TestGoldenFrames(t *testing.T) {
	tcp := Frame{ID: 1, Status: StatusNew, Network: NetworkTCP, Address: M.ParseSocksaddr("example.com:443")}
	for _, tt := range []struct {
		name string
		f    Frame
		data string
	}{
		{"xray-tcp-new", tcp, "hello"},
		{"xray-tcp-keep", Frame{ID: 1, Status: StatusKeep}, "more"},
		{"xray-tcp-end", Frame{ID: 1, Status: StatusEnd}, ""},
		{"xray-xudp-new-globalid", Frame{Status: StatusNew, Network: NetworkUDP, Address: M.ParseSocksaddr("8.8.8.8:53"), GlobalID: gid}, "query"},
		{"xray-xudp-keep-ipv6", udp(0, StatusKeep, "[2001:db8::1]:54"), "other"},
		{"sing-xudp-new", udp(0, StatusNew, "8.8.8.8:53"), "query"},
		{"sing-xudp-keep-domain", udp(0, StatusKeep, "example.com:54"), "other"},
	} {
		in := wiretest.Vector(t, "muxcool", tt.name)
		if out := encode(tt.f, tt.data); out != in {
			t.Errorf("%s: encoded as %x, want %x", tt.name, out, in)
		}
		if tt.data != "" {
			tt.f.Option, tt.f.Length = OptionData, len(tt.data)
		}
		if f, n, err := ParseFrame([]byte(in), ""); err != nil || f != tt.f || in[n:] != tt.data {
			t.Errorf("%s: %+v and %q, %v", tt.name, f, in[n:], err)
		}
	}
}

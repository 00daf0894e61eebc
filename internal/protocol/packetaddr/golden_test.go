package packetaddr

import (
	"testing"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/wire/wiretest"
)

func TestGolden(t *testing.T) {
	for _, tt := range []struct{ name, addr string }{
		{"sing-ipv4", "8.8.8.8:53"},
		{"sing-ipv6", "[2001:db8::1]:54"},
	} {
		in := wiretest.Vector(t, "packetaddr", tt.name)
		c, fake := session(in)
		b := buf.NewSize(100)
		b.Resize(50, 0)
		addr, err := c.ReadPacket(b)
		if err != nil || addr.String() != tt.addr || string(b.Bytes()) != "query" {
			t.Errorf("%s: %q of %s, %v", tt.name, b.Bytes(), addr, err)
		}
		if err := c.WritePacket(b, M.ParseSocksaddr(tt.addr)); err != nil {
			t.Fatal(err)
		}
		if got, want := fake.Writes()[0][4:], in; got != want { // after the response and the length
			t.Errorf("%s: encoded as %q, want %q", tt.name, got, want)
		}
	}
}

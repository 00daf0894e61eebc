package direct

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"testing"

	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/option"
)

func TestPick(t *testing.T) {
	a4, b4, a6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1")
	mixed := []netip.Addr{a4, a6, b4}
	for _, tt := range []struct {
		strategy  string
		in, want  []netip.Addr
		wantError error
	}{
		{"", mixed, mixed, nil},
		{"ipv4_first", mixed, []netip.Addr{a4, b4, a6}, nil},
		{"ipv6_first", mixed, []netip.Addr{a6, a4, b4}, nil},
		{"ipv4_only", mixed, []netip.Addr{a4, b4}, nil},
		{"ipv6_only", mixed, []netip.Addr{a6}, nil},
		{"ipv4_only", []netip.Addr{a6}, nil, errNoIPv4},
		{"ipv6_only", []netip.Addr{a4}, nil, errNoIPv6},
		{"ipv6_first", []netip.Addr{a4}, []netip.Addr{a4}, nil},
	} {
		before := slices.Clone(tt.in)
		got, err := pick(tt.strategy, tt.in)
		if !slices.Equal(got, tt.want) || !errors.Is(err, tt.wantError) {
			t.Errorf("%q of %v: %v, %v", tt.strategy, tt.in, got, err)
		}
		if !slices.Equal(tt.in, before) {
			t.Errorf("%q changed the resolver's answer", tt.strategy)
		}
	}
}

// A strategy is for names: an address is what the client asked for.
func TestDialByStrategy(t *testing.T) {
	dst := server(t, "127.0.0.1:0")
	out := newOutbound(t, option.Direct{DomainStrategy: "ipv6_only"}, hosts{"four.test": {netip.MustParseAddr("127.0.0.1")}})
	md := &adapter.Metadata{Destination: M.Socksaddr{Fqdn: "four.test", Port: uint16(dst.Port)}}
	if _, err := out.Dial(t.Context(), md); !errors.Is(err, errNoIPv6) {
		t.Errorf("a name: %v", err)
	}
	c, err := out.Dial(context.Background(), &adapter.Metadata{Destination: M.SocksaddrFromNet(dst)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.ReadAll(c); err != nil {
		t.Error(err)
	}
	p, err := out.ListenPacket(t.Context(), md)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if got, err := p.(*packetConn).resolve("four.test"); !errors.Is(err, errNoIPv6) {
		t.Errorf("packets go to %s, %v", got, err)
	}
}

package direct

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"
	"go.uber.org/goleak"

	"heki/adapter"
	"heki/internal/netio"
	"heki/option"
	"heki/outbound"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hosts is a resolver with a fixed table.
type hosts map[string][]netip.Addr

func (h hosts) Lookup(_ context.Context, _, host string) ([]netip.Addr, error) {
	if addrs := h[host]; len(addrs) > 0 {
		return addrs, nil
	}
	return nil, fmt.Errorf("no such host %s", host)
}

func newOutbound(t testing.TB, o option.Direct, h hosts) adapter.Outbound {
	t.Helper()
	out, err := New(outbound.Env{Resolver: h, Log: slog.New(slog.DiscardHandler)}, "direct", &o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// server accepts one connection on addr and sends the address it came from.
func server(t testing.TB, addr string) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, c.RemoteAddr().(*net.TCPAddr).IP.String())
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().(*net.TCPAddr)
}

func TestDialLeavesFrom(t *testing.T) {
	dst := server(t, "127.0.0.1:0")
	local := netip.MustParseAddrPort("127.0.0.5:443")
	for _, tt := range []struct {
		name string
		o    option.Direct
		want string
	}{
		{"system", option.Direct{}, "127.0.0.1"},
		{"address", option.Direct{Bind: "127.0.0.3"}, "127.0.0.3"},
		{"sing-box's name", option.Direct{Dial: option.Dial{Inet4BindAddress: "127.0.0.4"}}, "127.0.0.4"},
		{"inbound", option.Direct{Bind: "inbound"}, "127.0.0.5"},
		{"fast open", option.Direct{Dial: option.Dial{TCPFastOpen: true}}, "127.0.0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			md := &adapter.Metadata{Local: local, Destination: M.SocksaddrFromNet(dst)}
			c, err := newOutbound(t, tt.o, nil).Dial(t.Context(), md)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			got, err := io.ReadAll(c)
			if string(got) != tt.want || err != nil {
				t.Errorf("left from %q, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestDialResolvesAndFallsOver(t *testing.T) {
	dst := server(t, "127.0.0.1:0")
	h := hosts{"two.test": {netip.MustParseAddr("127.0.0.9"), netip.MustParseAddr("127.0.0.1")}}
	md := &adapter.Metadata{Destination: M.Socksaddr{Fqdn: "two.test", Port: uint16(dst.Port)}}
	c, err := newOutbound(t, option.Direct{}, h).Dial(t.Context(), md)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	md.Destination.Fqdn = "none.test"
	if _, err := newOutbound(t, option.Direct{}, h).Dial(t.Context(), md); err == nil || !strings.Contains(err.Error(), "none.test") {
		t.Errorf("err = %v, want one that names the host", err)
	}
}

func TestDialKeepsTheFamilyOfTheInbound(t *testing.T) {
	md := &adapter.Metadata{
		Local:       netip.MustParseAddrPort("127.0.0.5:443"),
		Destination: M.Socksaddr{Fqdn: "six.test", Port: 80},
		Addresses:   []netip.Addr{netip.MustParseAddr("::1")},
	}
	_, err := newOutbound(t, option.Direct{Bind: "inbound"}, nil).Dial(t.Context(), md)
	if err == nil || !strings.Contains(err.Error(), "family") {
		t.Errorf("err = %v, want one about the family", err)
	}
}

func TestUnknownInterface(t *testing.T) {
	_, err := New(outbound.Env{}, "direct", &option.Direct{Bind: "nosuch0"})
	if err == nil || !strings.Contains(err.Error(), "nosuch0") {
		t.Errorf("err = %v, want one that names nosuch0", err)
	}
}

func packetPair(t *testing.T, h hosts) (N.PacketConn, *net.UDPConn) {
	t.Helper()
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	md := &adapter.Metadata{Destination: M.SocksaddrFromNet(peer.LocalAddr())}
	c, err := newOutbound(t, option.Direct{}, h).ListenPacket(t.Context(), md)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, peer
}

func packet(text string) *buf.Buffer { return buf.As([]byte(text)) }

func TestPacketsFullCone(t *testing.T) {
	h := hosts{"peer.test": {netip.MustParseAddr("127.0.0.1")}}
	c, peer := packetPair(t, h)
	to := M.Socksaddr{Fqdn: "peer.test", Port: uint16(peer.LocalAddr().(*net.UDPAddr).Port)}
	if err := c.WritePacket(packet("hello"), to); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, mapped, err := peer.ReadFromUDP(b)
	if err != nil || string(b[:n]) != "hello" {
		t.Fatalf("peer got %q, %v", b[:n], err)
	}
	stranger, err := net.DialUDP("udp4", nil, mapped)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	stranger.Write([]byte("who am I"))
	got, from, err := c.(N.PacketReadWaiter).WaitReadPacket()
	if err != nil {
		t.Fatal(err)
	}
	defer netio.Put(got)
	if string(got.Bytes()) != "who am I" || from.String() != stranger.LocalAddr().String() {
		t.Errorf("got %q from %s, want it from %s", got.Bytes(), from, stranger.LocalAddr())
	}
}

func TestPacketsThatCannotGoAreLost(t *testing.T) {
	c, peer := packetPair(t, nil)
	for _, dst := range []M.Socksaddr{
		{Fqdn: "none.test", Port: 53},
		{Addr: netip.MustParseAddr("2001:db8::1"), Port: 0},
	} {
		if err := c.WritePacket(packet("x"), dst); err != nil {
			t.Errorf("%s ended the session: %v", dst, err)
		}
	}
	if err := c.WritePacket(packet("still here"), M.SocksaddrFromNet(peer.LocalAddr())); err != nil {
		t.Fatal(err)
	}
	peer.SetReadDeadline(time.Now().Add(time.Minute))
	if _, _, err := peer.ReadFromUDP(make([]byte, 100)); err != nil {
		t.Error(err)
	}
	c.Close()
	if err := c.WritePacket(packet("x"), M.SocksaddrFromNet(peer.LocalAddr())); !errors.Is(err, net.ErrClosed) {
		t.Errorf("err = %v, want net.ErrClosed", err)
	}
}

func TestPacketsOfEverySize(t *testing.T) {
	c, peer := packetPair(t, nil)
	if err := c.WritePacket(packet("hello"), M.SocksaddrFromNet(peer.LocalAddr())); err != nil {
		t.Fatal(err)
	}
	_, mapped, err := peer.ReadFromUDP(make([]byte, 100))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 1200, 9000, 65507} {
		peer.WriteToUDP(make([]byte, n), mapped)
		b, _, err := c.(N.PacketReadWaiter).WaitReadPacket()
		if err != nil || b.Len() != n {
			t.Fatalf("%d bytes: got %d, %v", n, b.Len(), err)
		}
		netio.Put(b)
	}
}

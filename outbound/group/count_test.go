package group

import (
	"context"
	"log/slog"
	"net"
	"testing"

	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/internal/netio"
	"heki/option"
)

// A counted connection stands in nobody's way.
func TestCountedIsReplaceable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tcp, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	m := new(member)
	c := &countedConn{Conn: tcp, use: newUse(m)}
	if netio.RawTCP(c) != tcp {
		t.Error("the socket is not seen")
	}
	if err := netio.CloseWrite(c); err != nil {
		t.Error(err)
	}
	if c.Close(); m.conns.Load() != 0 {
		t.Error("it counts after its end")
	}
}

// sockets is an outbound with real packet sessions.
type sockets struct{ fake }

type socket struct {
	*net.UDPConn
	N.PacketReadWaiter
	netio.PacketsReader
	N.PacketReader
	N.PacketWriter
}

func (s *sockets) ListenPacket(context.Context, *adapter.Metadata) (N.PacketConn, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	return &socket{UDPConn: c}, err
}

func TestPacketsAreCounted(t *testing.T) {
	all := map[string]adapter.Outbound{"a": &sockets{}}
	g := join(t, option.Group{Outbounds: []string{"a"}, Pick: option.PickLeastConn}, slog.New(slog.DiscardHandler), all)
	c, err := g.ListenPacket(t.Context(), user("u"))
	if err != nil {
		t.Fatal(err)
	}
	_, waits := c.(N.PacketReadWaiter)
	_, many := c.(netio.PacketsReader)
	if !waits || !many {
		t.Errorf("a counted session waits: %v, has batches: %v", waits, many)
	}
	if n := g.members[0].conns.Load(); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
	if c.Close(); g.members[0].conns.Load() != 0 {
		t.Error("it counts after its end")
	}
	creates := struct { // as packetaddr's and redirect's
		N.PacketConn
		N.PacketReadWaitCreator
	}{PacketConn: c}
	if _, ok := countPackets(creates, newUse(new(member))).(N.PacketReadWaitCreator); !ok {
		t.Error("a counted session holds a buffer while it waits")
	}
	for _, inner := range []N.PacketConn{struct{ N.PacketConn }{c}, struct{ waiting }{c.(waiting)}, creates} {
		c := countPackets(inner, newUse(g.members[0]))
		if _, many := c.(netio.PacketsReader); many {
			t.Error("a session without batches has some")
		}
		if c.Close(); g.members[0].conns.Load() != 0 {
			t.Error("it counts after its end")
		}
	}
}

package inbound_test

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/inbound"
	"heki/internal/netio"
	"heki/option"
	"heki/transport/udp"
)

// toy is a protocol without secrets: a user's number, an IPv4 destination, the payload. Answers have
// the source and the payload.
type toy struct {
	sessions *inbound.Sessions[toyKey, *toyState]
	users    []*adapter.User
}

type toyKey struct {
	source netip.AddrPort
	user   byte
}

type toyState struct{}

const toyHeader = 1 + 4 + 2

func (*toyState) Seal(b *buf.Buffer, source M.Socksaddr) error {
	ip := source.Addr.As4()
	h := b.ExtendHeader(6)
	copy(h, ip[:])
	binary.BigEndian.PutUint16(h[4:], source.Port)
	return nil
}

func (*toyState) Headroom() (int, int) { return 6, 0 }

var (
	errToyShort = errors.New("short")
	errToyPanic = errors.New("panic")
)

func (t *toy) ServePacket(b *buf.Buffer, from inbound.Endpoint) error {
	in := b.Bytes()
	if len(in) < toyHeader || int(in[0]) >= len(t.users) {
		if len(in) == 1 && in[0] == '!' {
			panic(errToyPanic)
		}
		netio.Put(b)
		return errToyShort
	}
	to := M.Socksaddr{Addr: netip.AddrFrom4([4]byte(in[1:5])), Port: binary.BigEndian.Uint16(in[5:])}
	key := toyKey{from.Source, in[0]}
	s := t.sessions.Get(key)
	if s == nil {
		var err error
		if s, err = t.sessions.Open(key, t.users[in[0]], new(toyState), from, to); err != nil {
			netio.Put(b)
			return err
		}
	}
	b.Advance(toyHeader)
	s.Deliver(b, to, from)
	return nil
}

// request is a datagram of the toy protocol.
func toyRequest(user byte, to netip.AddrPort, payload string) []byte {
	ip := to.Addr().As4()
	b := append([]byte{user}, ip[:]...)
	b = binary.BigEndian.AppendUint16(b, to.Port())
	return append(b, payload...)
}

// echoPackets is a router that answers each payload as if from its destination.
type echoPackets struct {
	mu       sync.Mutex
	sessions []adapter.Metadata
}

func (e *echoPackets) RouteConn(context.Context, net.Conn, *adapter.Metadata) error {
	return errors.New("no streams here")
}

func (e *echoPackets) RoutePacketConn(_ context.Context, conn N.PacketConn, md *adapter.Metadata) error {
	defer conn.Close()
	e.mu.Lock()
	e.sessions = append(e.sessions, *md)
	e.mu.Unlock()
	w := conn.(N.PacketReadWaiter)
	for {
		b, to, err := w.WaitReadPacket()
		if err != nil {
			return err
		}
		err = conn.WritePacket(b, to)
		netio.Put(b)
		if err != nil {
			return err
		}
	}
}

func (e *echoPackets) seen() []adapter.Metadata {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]adapter.Metadata(nil), e.sessions...)
}

// startToy runs a toy inbound on loopback.
func startToy(t testing.TB, router adapter.Router, change func(*option.Listen, *option.Packet)) (*inbound.Packet, *toy) {
	t.Helper()
	o := &option.Listen{Listen: option.Listable[string]{"127.0.0.1"}}
	p := new(option.Packet)
	if change != nil {
		change(o, p)
	}
	h := &toy{users: []*adapter.User{{Account: adapter.Account{Name: "a"}}, {Account: adapter.Account{Name: "b"}}}}
	env := inbound.Env{Router: router, Packets: new(udp.Pool), Log: slog.New(slog.DiscardHandler)}
	in, err := inbound.NewPacket(env, "in", "toy", o, p, h)
	if err != nil {
		t.Fatal(err)
	}
	h.sessions = inbound.NewSessions[toyKey, *toyState](in)
	if err := in.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	return in, h
}

func dialToy(t testing.TB, in *inbound.Packet) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp4", nil, in.Addresses()[0].(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// askUDP sends one datagram and returns the answer.
func askUDP(t testing.TB, c *net.UDPConn, request []byte) string {
	t.Helper()
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	return receiveUDP(t, c)
}

func receiveUDP(t testing.TB, c *net.UDPConn) string {
	t.Helper()
	b := make([]byte, 65536)
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

var (
	target = netip.MustParseAddrPort("192.0.2.1:443")
	other  = netip.MustParseAddrPort("192.0.2.2:53")
)

func TestPacket(t *testing.T) {
	router := new(echoPackets)
	in, _ := startToy(t, router, nil)
	c := dialToy(t, in)
	if got, want := askUDP(t, c, toyRequest(1, target, "hello")), string(toyRequest(1, target, "hello")[1:]); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := askUDP(t, c, toyRequest(1, other, "again")), string(toyRequest(1, other, "again")[1:]); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	seen := router.seen()
	if len(seen) != 1 || in.Open() != 1 {
		t.Fatalf("%d sessions, want 1", len(seen))
	}
	md := seen[0]
	if md.User.Name != "b" || md.Source.String() != c.LocalAddr().String() || md.Local.String() != in.Addresses()[0].String() ||
		md.Destination.AddrPort() != target || md.Network != "udp" || md.Inbound != "in" || md.Protocol != "toy" || md.ID == 0 {
		t.Errorf("metadata = %+v", md)
	}
}

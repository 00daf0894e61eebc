package inbound_test

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/inbound"
	"heki/internal/netio"
	"heki/option"
	"heki/transport/proxyproto"
	"heki/transport/udp"
)

// toy is a protocol without secrets: a user's number, an IPv4 destination, the payload. Answers have
// the source and the payload.
type toy struct {
	roam     atomic.Bool // a client is known by its user, not by its address
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
	if t.roam.Load() {
		key.source = netip.AddrPort{}
	}
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
func startToy(t testing.TB, router adapter.Router, change func(*option.Listen)) (*inbound.Packet, *toy) {
	t.Helper()
	o := &option.Listen{Listen: option.Listable[string]{"127.0.0.1"}}
	if change != nil {
		change(o)
	}
	return startToyOn(t, new(udp.Pool), router, o)
}

func startToyOn(t testing.TB, pool *udp.Pool, router adapter.Router, o *option.Listen) (*inbound.Packet, *toy) {
	t.Helper()
	h := &toy{users: []*adapter.User{{Account: adapter.Account{Name: "a"}}, {Account: adapter.Account{Name: "b"}}}}
	env := inbound.Env{Router: router, Packets: pool, Log: slog.New(slog.DiscardHandler)}
	in, err := inbound.NewPacket(env, "in", "toy", o, h)
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
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
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

// A client that moves keeps its session, and gets its answers where it is now.
func TestPacketRoaming(t *testing.T) {
	router := new(echoPackets)
	in, h := startToy(t, router, nil)
	h.roam.Store(true)
	for i := range 3 {
		c := dialToy(t, in)
		if got := askUDP(t, c, toyRequest(0, target, "x")); len(got) != toyHeader {
			t.Errorf("%d: %q", i, got)
		}
	}
	if n := len(router.seen()); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// An answer leaves from the address that the client reached.
func TestPacketLocal(t *testing.T) {
	for _, listen := range []string{"0.0.0.0", "::"} {
		t.Run(listen, func(t *testing.T) {
			router := new(echoPackets)
			in, _ := startToy(t, router, func(o *option.Listen) { o.Listen = option.Listable[string]{listen} })
			port := in.Addresses()[0].(*net.UDPAddr).Port
			for _, ip := range []string{"127.0.0.1", "127.0.0.2"} {
				c, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.ParseIP(ip), Port: port})
				if err != nil {
					t.Fatal(err)
				}
				askUDP(t, c, toyRequest(0, target, "x")) // a connected socket takes answers of this address only
				_ = c.Close()
			}
			seen := router.seen()
			for i, ip := range []string{"127.0.0.1", "127.0.0.2"} {
				if seen[i].Local.Addr().String() != ip || int(seen[i].Local.Port()) != port || !seen[i].Source.Addr().Is4() {
					t.Errorf("from %s to %s", seen[i].Source, seen[i].Local)
				}
			}
		})
	}
}

// Garbage, and a panic, end nothing.
func TestPacketGarbage(t *testing.T) {
	in, _ := startToy(t, new(echoPackets), nil)
	c := dialToy(t, in)
	for _, garbage := range []string{"", "x", "!", string(toyRequest(9, target, ""))} {
		if _, err := c.Write([]byte(garbage)); err != nil {
			t.Fatal(err)
		}
	}
	if got := askUDP(t, c, toyRequest(0, target, "x")); len(got) != toyHeader {
		t.Errorf("got %q", got)
	}
	if in.Open() != 1 {
		t.Errorf("%d sessions", in.Open())
	}
}

// Payloads of every size pass, and those for which an answer has no room are copied.
func TestPacketSizes(t *testing.T) {
	in, _ := startToy(t, new(echoPackets), nil)
	c := dialToy(t, in)
	for _, n := range []int{0, 1, 1400, 2041, 2048, 2049, 9000, 65507 - toyHeader} {
		request := toyRequest(0, target, strings.Repeat("x", n))
		if got := askUDP(t, c, request); got != string(request[1:]) {
			t.Errorf("%d bytes came back as %d", len(request), len(got))
		}
	}
}

func TestPacketProxy(t *testing.T) {
	client := netip.MustParseAddrPort("203.0.113.9:1000")
	header := proxyproto.AppendV2(nil, proxyproto.Header{Source: client, Destination: target})
	local := proxyproto.AppendV2(nil, proxyproto.Header{})
	one := toyRequest(0, target, "x")
	with := func(head []byte, b []byte) []byte { return append(slices.Clone(head), b...) }
	for _, tt := range []struct {
		name, mode, trusted string
		send                [][]byte
		want                string // the client of each session; "-" is its own address
	}{
		{"off", "off", "", [][]byte{one}, "-"},
		{"required, every datagram", "required", "", [][]byte{with(header, one), with(header, one)}, "203.0.113.9:1000"},
		{"required, the first only", "required", "127.0.0.0/8", [][]byte{with(header, one), one}, "203.0.113.9:1000"},
		{"required, none", "required", "", [][]byte{one}, ""},
		{"required, not trusted", "required", "10.0.0.0/8", [][]byte{with(header, one)}, ""},
		{"required, cut", "required", "", [][]byte{header[:20], with(header, one)}, "203.0.113.9:1000"},
		{"required, local", "required", "", [][]byte{with(local, one)}, "-"},
		{"optional, none", "optional", "", [][]byte{one}, "-"},
		{"optional, later", "optional", "", [][]byte{one, with(header, one), one}, "- 203.0.113.9:1000"},
		{"optional, not trusted", "optional", "10.0.0.0/8", [][]byte{one}, "-"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			router := new(echoPackets)
			in, _ := startToy(t, router, func(o *option.Listen) {
				o.UDPProxyProtocol = tt.mode
				if tt.trusted != "" {
					o.TrustedProxies = option.Listable[string]{tt.trusted}
				}
			})
			c := dialToy(t, in)
			for _, b := range tt.send {
				_, _ = c.Write(b)
			}
			answers := len(tt.send)
			if tt.name == "required, cut" {
				answers--
			}
			if tt.want != "" {
				for range answers {
					if got := receiveUDP(t, c); got != string(one[1:]) { // without a header
						t.Errorf("got %q", got)
					}
				}
			}
			var got []string
			for _, md := range router.seen() {
				source := md.Source.String()
				if source == c.LocalAddr().String() {
					source = "-"
				}
				got = append(got, source)
			}
			slices.Sort(got) // each has its own goroutine
			if strings.Join(got, " ") != tt.want {
				t.Errorf("sessions of %q, want %q", got, tt.want)
			}
		})
	}
}

// BenchmarkPacket: datagrams go through one session and back, some on the way at a time.
func BenchmarkPacket(b *testing.B) {
	in, _ := startToy(b, new(echoPackets), nil)
	c := dialToy(b, in)
	request, answer := toyRequest(0, target, strings.Repeat("x", 1200)), make([]byte, 2048)
	askUDP(b, c, request)
	_ = c.SetReadDeadline(time.Time{})
	b.SetBytes(1200)
	b.ReportAllocs()
	for sent := 0; sent < b.N; {
		burst := min(8, b.N-sent)
		for range burst {
			_, _ = c.Write(request)
		}
		for range burst {
			if _, err := c.Read(answer); err != nil {
				b.Fatal(err)
			}
		}
		sent += burst
	}
}

func TestPacketAllocs(t *testing.T) {
	if raceEnabled {
		return // the pools drop things on purpose
	}
	in, _ := startToy(t, new(echoPackets), nil)
	c := dialToy(t, in)
	request, answer := toyRequest(0, target, strings.Repeat("x", 1200)), make([]byte, 2048)
	askUDP(t, c, request)
	_ = c.SetReadDeadline(time.Time{})
	if got := testing.AllocsPerRun(2000, func() {
		_, _ = c.Write(request)
		_, _ = c.Read(answer)
	}); got > 0 {
		t.Errorf("%v allocations for a datagram there and back", got)
	}
}

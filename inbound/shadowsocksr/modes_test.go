package shadowsocksr

import (
	"context"
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
	"heki/inbound/inboundtest"
	"heki/internal/netio"
	"heki/internal/protocol/ssr"
	"heki/option"
	"heki/transport/tcp"
)

// meter counts who was let in, and whether its addresses count.
type meter struct {
	mu             sync.Mutex
	conns, devices int
	inboundtest.Meter
}

func (m *meter) Open(ctx context.Context, a netip.Addr, kill func()) (adapter.Lease, error) {
	m.mu.Lock()
	m.conns++
	m.mu.Unlock()
	return m.Meter.Open(ctx, a, kill)
}

func (m *meter) OpenDevice(ctx context.Context, a netip.Addr, kill func()) (adapter.Lease, error) {
	m.mu.Lock()
	m.devices++
	m.mu.Unlock()
	return m.Meter.Open(ctx, a, kill)
}

func (m *meter) counts() (conns, devices int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.conns, m.devices
}

// clock is the server's.
type clock struct {
	mu  sync.Mutex
	off time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.off)
}

func (c *clock) set(off time.Duration) {
	c.mu.Lock()
	c.off = off
	c.mu.Unlock()
}

// router also answers datagrams with themselves.
type router struct{ inboundtest.Router }

func (*router) RoutePacketConn(_ context.Context, conn N.PacketConn, _ *adapter.Metadata) error {
	defer conn.Close()
	b := netio.GetPacket()
	defer netio.Put(b)
	to, err := conn.ReadPacket(b)
	if err != nil {
		return err
	}
	return conn.WritePacket(netio.Filled(b), to)
}

// node is a running inbound.
type node struct {
	*Inbound
	clock  clock
	router router
}

func start(t *testing.T, o *option.ShadowsocksR, users ...*adapter.User) *node {
	t.Helper()
	return startWith(t, NewMemory(), o, users...)
}

func startWith(t *testing.T, m *Memory, o *option.ShadowsocksR, users ...*adapter.User) *node {
	t.Helper()
	o.Listen.Listen = option.Listable[string]{"127.0.0.1"}
	o.HandshakeTimeout = option.Duration(3 * time.Second)
	o.MuRegex, o.MuSuffix = ssr.DefaultHostPattern, ssr.DefaultHostSuffix
	n := new(node)
	env := inbound.Env{Router: &n.router, Listeners: new(tcp.Pool), Log: slog.New(slog.DiscardHandler), Now: n.clock.Now}
	in, err := New(env, "in", o, m)
	if err != nil {
		t.Fatal(err)
	}
	n.Inbound = in.(*Inbound)
	if err := n.SwapUsers(users); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func user(i int) (*adapter.User, *meter) {
	m := new(meter)
	return &adapter.User{Account: account(i), Meter: m}, m
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func at(port uint16) net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)} }

// TestModes has the three ways of sharing in one node. Each connection is counted for whose it is.
func TestModes(t *testing.T) {
	dst := echo(t)
	byProtocol := shared("aes-256-cfb", "auth_chain_b", "plain", option.SSRProtocol)
	byHost := shared("chacha20-ietf-poly1305", "origin", "simple_obfs_tls", option.SSRObfs)
	one, m1 := user(0)
	two, m2 := user(1)
	ownPort, hostPort := freePort(t), freePort(t)
	two.Port, two.Password = ownPort, "own password"
	two.SSR = adapter.SSR{Method: "rc4-md5", Protocol: "auth_aes128_md5", Obfs: "http_simple"}
	n := start(t, &option.ShadowsocksR{SSRPort: byProtocol, Ports: []option.SSRExtraPort{{ListenPort: hostPort, SSRPort: byHost}}}, one, two)
	first, own := n.Addresses()[0], shared("rc4-md5", "auth_aes128_md5", "http_simple", option.SSRSingleUser)
	own.Password = "own password"
	want := func(conns1, conns2 int) {
		t.Helper()
		if got, _ := m1.counts(); got != conns1 {
			t.Errorf("%d connections of the first user, want %d", got, conns1)
		}
		if got, _ := m2.counts(); got != conns2 {
			t.Errorf("%d connections of the second user, want %d", got, conns2)
		}
	}
	for i, step := range []struct {
		at           net.Addr
		c            client
		a            adapter.Account
		ok           bool
		first, other int
	}{
		{first, newClient(t, byProtocol), one.Account, true, 1, 0},
		{first, newClient(t, byProtocol), two.Account, true, 1, 1},
		{first, newClient(t, byProtocol), account(2), false, 1, 1},
		{at(hostPort), newClient(t, byHost), one.Account, true, 2, 1},
		{at(hostPort), newClient(t, byHost), two.Account, true, 2, 2},
		{at(hostPort), newClient(t, byHost), account(1), false, 2, 2}, // another password: another host
		{at(ownPort), newClient(t, own), two.Account, true, 2, 3},
		{at(ownPort), newClient(t, byProtocol), one.Account, false, 2, 3},
	} {
		if got := served(t, step.at, step.c, step.a, dst); got != step.ok {
			t.Errorf("step %d: served %v, want %v", i, got, step.ok)
		}
		want(step.first, step.other)
	}
	// The port goes with its user, and comes back speaking otherwise.
	if err := n.SwapUsers([]*adapter.User{one}); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", at(ownPort).String()); err == nil {
		c.Close()
		t.Error("the port of a user who is gone is open")
	}
	again := *two
	again.SSR.Protocol = "auth_chain_d"
	if err := n.SwapUsers([]*adapter.User{one, &again}); err != nil {
		t.Fatal(err)
	}
	own.Protocol = "auth_chain_d"
	if !served(t, at(ownPort), newClient(t, own), again.Account, dst) {
		t.Error("the port does not speak as its user does now")
	}
}

// TestDevices: a user's programs are counted in mode protocol, and addresses are not.
func TestDevices(t *testing.T) {
	dst := echo(t)
	p := shared("none", "auth_chain_a", "plain", option.SSRProtocol)
	u, m := user(0)
	u.IPLimit = 2
	n := start(t, &option.ShadowsocksR{SSRPort: p}, u)
	c := newClient(t, p)
	device := func(id uint32) *ssr.Conn {
		c.id = id
		return open(t, n.Addresses()[0], c, u.Account, dst)
	}
	a, b := device(1), device(2)
	if a == nil || b == nil || device(2) == nil {
		t.Fatal("two devices are not served")
	}
	if device(3) != nil {
		t.Error("a third device is served")
	}
	if conns, devices := m.counts(); conns != 0 || devices != 3 {
		t.Errorf("%d connections count their address, %d do not", conns, devices)
	}
	_ = a.Close()
	for range 100 { // the server notices in its own time
		if device(3) != nil {
			return
		}
	}
	t.Error("the place of a device that left stays taken")
}

// TestAddresses: without ssr_cid_limit it is the other way round.
func TestAddresses(t *testing.T) {
	no := false
	p := shared("none", "auth_chain_a", "plain", option.SSRProtocol)
	u, m := user(0)
	u.IPLimit = 1
	n := start(t, &option.ShadowsocksR{SSRPort: p, SSRSharing: option.SSRSharing{CIDLimit: &no}}, u)
	c, dst := newClient(t, p), echo(t)
	for c.id = 1; c.id < 4; c.id++ {
		if open(t, n.Addresses()[0], c, u.Account, dst) == nil {
			t.Error("not served")
		}
	}
	if conns, devices := m.counts(); conns != 3 || devices != 0 {
		t.Errorf("%d connections count their address, %d do not", conns, devices)
	}
}

// TestReplayAndClock: a connection is served once, and only in its time.
func TestReplayAndClock(t *testing.T) {
	dst := echo(t)
	for _, protocol := range []string{"auth_aes128_sha1", "auth_chain_a", "auth_chain_f"} {
		t.Run(protocol, func(t *testing.T) {
			p := shared("aes-128-ctr", protocol, "plain", option.SSRProtocol)
			u, _ := user(0)
			n := start(t, &option.ShadowsocksR{SSRPort: p}, u)
			c, addr := newClient(t, p), n.Addresses()[0]
			raw := c.header(u.Account, dst)
			if !replay(t, addr, raw) {
				t.Error("not served")
			}
			if replay(t, addr, raw) {
				t.Error("served twice") // the first connection is closed: the reference serves it again
			}
			for off, want := range map[time.Duration]bool{
				ssr.Skew + time.Minute: false, -ssr.Skew - time.Minute: false, ssr.Skew - time.Minute: true, -ssr.Skew + time.Minute: true,
			} {
				n.clock.set(off)
				if got := replay(t, addr, c.header(u.Account, dst)); got != want {
					t.Errorf("clock off by %s: served %v", off, got)
				}
			}
		})
	}
}

// TestHelloReplay: a TLS hello is answered once.
func TestHelloReplay(t *testing.T) {
	p := shared("aes-128-ctr", "origin", "tls1.2_ticket_auth", option.SSRObfs)
	u, _ := user(0)
	n := start(t, &option.ShadowsocksR{SSRPort: p}, u)
	raw := newClient(t, p).header(u.Account, echo(t))
	if !replay(t, n.Addresses()[0], raw) {
		t.Error("not answered")
	}
	if replay(t, n.Addresses()[0], raw) {
		t.Error("answered twice")
	}
}

func TestSwapRefuses(t *testing.T) {
	one, _ := user(0)
	none, _ := user(1)
	none.ID = 0
	silent, _ := user(2)
	silent.Password = ""
	big, _ := user(3)
	big.ID = 1 << 32
	for name, users := range map[string][]*adapter.User{"no id": {none}, "no password": {silent}, "twice": {one, one}, "large id": {big}} {
		n := start(t, &option.ShadowsocksR{SSRPort: shared("none", "auth_chain_a", "plain", option.SSRProtocol)})
		if n.SwapUsers(users) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	n := start(t, &option.ShadowsocksR{SSRPort: shared("none", "origin", "plain", option.SSRSingleUser)})
	if n.SwapUsers([]*adapter.User{one, silent}) == nil {
		t.Error("two users on a port of one")
	}
	// What is wrong with a user's own port costs nobody else anything.
	odd, _ := user(4)
	odd.Port, odd.SSR.Method = freePort(t), "rot13"
	if err := n.SwapUsers([]*adapter.User{one, odd}); err != nil {
		t.Error(err)
	}
}

// TestUDP sends datagrams in each mode, each user's under its own key, and wants them back.
func TestUDP(t *testing.T) {
	for _, tt := range []struct {
		p    option.SSRPort
		udp  bool // ss_obfs_udp
		want bool
	}{
		{shared("aes-256-cfb", "auth_chain_a", "plain", option.SSRProtocol), false, true},
		{shared("chacha20", "auth_aes128_md5", "plain", option.SSRProtocol), false, true},
		{shared("none", "auth_aes128_sha1", "http_simple", option.SSRObfs), false, true},
		{shared("aes-128-gcm", "origin", "simple_obfs_http", option.SSRObfs), false, false},
		{shared("aes-128-gcm", "origin", "simple_obfs_http", option.SSRObfs), true, true},
		{shared("salsa20", "origin", "plain", option.SSRSingleUser), false, true},
	} {
		t.Run(tt.p.Method+" "+tt.p.Protocol, func(t *testing.T) {
			u, _ := user(0)
			n := start(t, &option.ShadowsocksR{SSRPort: tt.p, SSRSharing: option.SSRSharing{ObfsUDP: tt.udp}}, u)
			c := newClient(t, tt.p)
			key := c.codec.UserKey(u.Password)
			if tt.p.Mode == option.SSRSingleUser {
				key = c.codec.Key()
			}
			addr := n.all()[0].pair.Packets().Addresses()[0]
			err := exchange(t, c, addr, key, uint32(u.ID), tt.want)
			if (err == nil) != tt.want {
				t.Errorf("err = %v, want an answer: %v", err, tt.want)
			}
			if tt.p.Protocol != "origin" && exchange(t, c, addr, []byte("another key"), uint32(u.ID), false) == nil {
				t.Error("a wrong key is answered")
			}
		})
	}
}

// exchange sends one datagram and reads the answer, for which it waits long where there is to be one.
func exchange(t *testing.T, c client, addr net.Addr, key []byte, uid uint32, wanted bool) error {
	t.Helper()
	conn, err := net.Dial("udp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b := netio.GetPacket()
	defer netio.Put(b)
	_, _ = b.WriteString("query")
	to := M.ParseSocksaddr("192.0.2.1:53")
	if err := c.codec.SealClientDatagram(netio.Filled(b), to, uid, key, random{}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	wait := 300 * time.Millisecond
	if wanted {
		wait = time.Minute
	}
	_ = conn.SetReadDeadline(time.Now().Add(wait))
	got := make([]byte, 2000)
	m, err := conn.Read(got)
	if err != nil {
		return err
	}
	answer := buf.As(got[:m])
	src, err := c.codec.OpenServerDatagram(answer, key)
	if err == nil && (src != to || string(answer.Bytes()) != "query") {
		err = errors.New("another answer from " + src.String())
	}
	return err
}

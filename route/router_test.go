package route

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"
	"go.uber.org/goleak"

	"heki/adapter"
	"heki/internal/netio"
	"heki/option"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipeOutbound answers dials with one end of a pipe and keeps the other.
type pipeOutbound struct {
	tag     string
	remotes chan net.Conn
	packets chan *packetPipe
	wait    bool // dials hang until their context ends
}

func newPipeOutbound(tag string) *pipeOutbound {
	return &pipeOutbound{tag: tag, remotes: make(chan net.Conn, 8), packets: make(chan *packetPipe, 8)}
}

func (o *pipeOutbound) Tag() string  { return o.tag }
func (o *pipeOutbound) Close() error { return nil }

func (o *pipeOutbound) Dial(ctx context.Context, _ *adapter.Metadata) (net.Conn, error) {
	if o.wait {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	a, b := net.Pipe()
	o.remotes <- b
	return a, nil
}

func (o *pipeOutbound) ListenPacket(context.Context, *adapter.Metadata) (N.PacketConn, error) {
	p := newPacketPipe()
	o.packets <- p
	return p, nil
}

// set is the outbounds of a test.
type set map[string]*pipeOutbound

func (s set) Get(tag string) adapter.Outbound {
	if o := s[tag]; o != nil {
		return o
	}
	return nil
}

// names is a resolver with a fixed table.
type names map[string]netip.Addr

func (n names) Lookup(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, ok := n[host]; ok {
		return []netip.Addr{a}, nil
	}
	return nil, errors.New("no such host")
}

// meter counts and can be kicked.
type meter struct {
	up, down atomic.Int64
	closed   atomic.Int32
	kill     atomic.Pointer[func()]
	refuse   error
}

func (m *meter) Open(_ context.Context, _ netip.Addr, kill func()) (adapter.Lease, error) {
	m.kill.Store(&kill)
	return m, m.refuse
}
func (m *meter) Up(n int64)   { m.up.Add(n) }
func (m *meter) Down(n int64) { m.down.Add(n) }
func (m *meter) Paced() bool  { return false }
func (m *meter) Close()       { m.closed.Add(1) }

func newRouter(t testing.TB, o option.Route, outs set) *Router {
	t.Helper()
	r, err := New(o, outs, names{"private.test": netip.MustParseAddr("10.1.2.3"), "ok.test": netip.MustParseAddr("192.0.2.1")}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func metadata(dst string, m *meter) *adapter.Metadata {
	return &adapter.Metadata{
		Inbound: "in", Source: netip.MustParseAddrPort("198.51.100.1:1000"),
		User: &adapter.User{Account: adapter.Account{ID: 7, Name: "alice"}, Meter: m}, Destination: M.ParseSocksaddr(dst),
	}
}

// routed is one connection on its way.
type routed struct {
	client net.Conn
	meter  *meter
	done   chan error
}

func start(t *testing.T, r *Router, dst string) *routed {
	t.Helper()
	client, server := net.Pipe()
	c := &routed{client: client, meter: new(meter), done: make(chan error, 1)}
	go func() { c.done <- r.RouteConn(context.Background(), server, metadata(dst, c.meter)) }()
	t.Cleanup(func() { client.Close() })
	return c
}

func (c *routed) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-c.done:
		if n := c.meter.closed.Load(); n != 1 {
			t.Errorf("lease closed %d times", n)
		}
		return err
	case <-time.After(time.Minute):
		t.Fatal("still running")
		return nil
	}
}

func TestRouteConnRelaysAndCounts(t *testing.T) {
	out := newPipeOutbound("direct")
	c := start(t, newRouter(t, option.Route{}, set{"direct": out}), "192.0.2.1:80")
	go io.WriteString(c.client, "hello")
	remote := <-out.remotes
	b := make([]byte, 5)
	if _, err := io.ReadFull(remote, b); err != nil || string(b) != "hello" {
		t.Fatal(string(b), err)
	}
	go io.WriteString(remote, "bye")
	if _, err := io.ReadFull(c.client, b[:3]); err != nil {
		t.Fatal(err)
	}
	remote.Close()
	c.client.Close()
	if err := c.end(t); err != nil {
		t.Error(err)
	}
	if c.meter.up.Load() != 5 || c.meter.down.Load() != 3 {
		t.Errorf("counted %d up, %d down", c.meter.up.Load(), c.meter.down.Load())
	}
}

func TestRouteConnDecides(t *testing.T) {
	hello := "GET / HTTP/1.1\r\nHost: www.sniffed.test\r\n\r\n"
	for _, tt := range []struct {
		name, dst, first string
		o                option.Route
		out              string // "" is denied
	}{
		{"no rules", "192.0.2.1:80", "", option.Route{}, "direct"},
		{"final", "192.0.2.1:80", "", option.Route{Final: "b"}, "b"},
		{"no match and no final", "192.0.2.1:80", "", option.Route{Rules: []option.RouteTo{{Match: []string{"port:443"}, Outbound: "b"}}}, ""},
		{"domain", "www.example.test:80", "", option.Route{Rules: []option.RouteTo{{Match: []string{"domain:example.test"}, Outbound: "b"}}, Final: "direct"}, "b"},
		{"sniffed domain", "192.0.2.1:80", hello, option.Route{Audit: []string{"domain:sniffed.test"}}, ""},
		{"audit by resolved address", "private.test:80", "", option.Route{Audit: []string{"ip:10.0.0.0/8"}}, ""},
		{"private", "private.test:80", "", option.Route{ForbidPrivateIP: true}, ""},
		{"unresolvable where an address decides", "gone.test:80", "", option.Route{ForbidPrivateIP: true}, ""},
		{"whitelist", "10.0.0.1:80", "", option.Route{Whitelist: []string{"ip:10.0.0.1"}, Audit: []string{"*"}}, "direct"},
		{"user", "192.0.2.1:80", "", option.Route{Rules: []option.RouteTo{{Match: []string{"user:alice"}, Outbound: "b"}}}, "b"},
		{"unknown outbound", "192.0.2.1:80", "", option.Route{Final: "gone"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			outs := set{"direct": newPipeOutbound("direct"), "b": newPipeOutbound("b")}
			c := start(t, newRouter(t, tt.o, outs), tt.dst)
			if tt.first != "" {
				go io.WriteString(c.client, tt.first)
			}
			if tt.out == "" {
				if err := c.end(t); err == nil {
					t.Error("not denied")
				}
				return
			}
			select {
			case remote := <-outs[tt.out].remotes:
				remote.Close()
				c.client.Close()
				c.end(t)
			case err := <-c.done:
				t.Fatalf("ended: %v", err)
			}
		})
	}
}

func TestRouteConnKeepsSniffedBytes(t *testing.T) {
	out := newPipeOutbound("direct")
	c := start(t, newRouter(t, option.Route{ForbidBitTorrent: true}, set{"direct": out}), "192.0.2.1:80")
	first := "GET / HTTP/1.1\r\nHost: a.test\r\n\r\nbody"
	go io.WriteString(c.client, first)
	b := make([]byte, len(first))
	remote := <-out.remotes
	if _, err := io.ReadFull(remote, b); err != nil || string(b) != first {
		t.Fatalf("got %q, %v", b, err)
	}
	remote.Close()
	c.client.Close()
	c.end(t)
}

func TestRouteConnDialsWhenTheServerSpeaksFirst(t *testing.T) {
	out := newPipeOutbound("direct")
	c := start(t, newRouter(t, option.Route{ForbidBitTorrent: true}, set{"direct": out}), "192.0.2.1:9999")
	select {
	case remote := <-out.remotes: // after the sniff timeout
		remote.Close()
	case <-time.After(time.Minute):
		t.Fatal("a silent client was never connected")
	}
	c.client.Close()
	c.end(t)
}

func TestKickEndsDialAndRelay(t *testing.T) {
	for name, wait := range map[string]bool{"dialling": true, "relaying": false} {
		t.Run(name, func(t *testing.T) {
			out := newPipeOutbound("direct")
			out.wait = wait
			c := start(t, newRouter(t, option.Route{}, set{"direct": out}), "192.0.2.1:80")
			if wait {
				time.Sleep(20 * time.Millisecond) // let it reach the dial
			} else {
				defer (<-out.remotes).Close()
			}
			(*c.meter.kill.Load())()
			if err := c.end(t); !errors.Is(err, ErrKicked) {
				t.Errorf("err = %v, want ErrKicked", err)
			}
		})
	}
}

func TestRefusedByTheMeter(t *testing.T) {
	r := newRouter(t, option.Route{}, set{"direct": newPipeOutbound("direct")})
	client, server := net.Pipe()
	defer client.Close()
	err := r.RouteConn(context.Background(), server, metadata("192.0.2.1:80", &meter{refuse: adapter.ErrLimited}))
	if !errors.Is(err, adapter.ErrLimited) {
		t.Errorf("err = %v", err)
	}
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection was left open: %v", err)
	}
}

func TestReloadReportsEveryMistakeAndKeepsTheOld(t *testing.T) {
	outs := set{"direct": newPipeOutbound("direct")}
	r := newRouter(t, option.Route{Audit: []string{"domain:bad.test"}}, outs)
	err := r.Reload(option.Route{Audit: []string{"regexp:(", "ok.test"}, ForbidPorts: "0"}, outs)
	if err == nil || !strings.Contains(err.Error(), "route.audit[0]") || !strings.Contains(err.Error(), "route.forbid_ports") {
		t.Fatalf("err = %v", err)
	}
	c := start(t, r, "bad.test:80")
	if err := c.end(t); !errors.Is(err, ErrDenied) {
		t.Errorf("err = %v, want ErrDenied of the old rules", err)
	}
}

func TestPanelRulesSurviveReload(t *testing.T) {
	outs := set{"direct": newPipeOutbound("direct")}
	r := newRouter(t, option.Route{}, outs)
	if err := r.SetPanelRules("in", []PanelRule{{ID: 7, Lines: []string{"domain:ads.test", "regexp:("}}}, nil); err == nil {
		t.Error("a bad line was not reported")
	}
	if err := r.Reload(option.Route{Final: "direct"}, outs); err != nil {
		t.Fatal(err)
	}
	if err := start(t, r, "www.ads.test:80").end(t); !errors.Is(err, ErrDenied) {
		t.Errorf("err = %v, want ErrDenied", err)
	}
	r.SetPanelRules("in", nil, nil)
	c := start(t, r, "www.ads.test:80")
	(<-outs["direct"].remotes).Close()
	c.client.Close()
	c.end(t)
}

// packetPipe is a packet connection in memory: in are packets to read, out those written.
type packetPipe struct {
	in, out chan datagram
	closed  chan struct{}
	once    atomic.Bool
}

type datagram struct {
	text string
	addr M.Socksaddr
}

func newPacketPipe() *packetPipe {
	return &packetPipe{in: make(chan datagram, 16), out: make(chan datagram, 16), closed: make(chan struct{})}
}

func (p *packetPipe) ReadPacket(b *buf.Buffer) (M.Socksaddr, error) {
	select {
	case d := <-p.in:
		_, err := b.WriteString(d.text)
		return d.addr, err
	case <-p.closed:
		return M.Socksaddr{}, net.ErrClosed
	}
}

func (p *packetPipe) WritePacket(b *buf.Buffer, addr M.Socksaddr) error {
	defer b.Release()
	select {
	case p.out <- datagram{string(b.Bytes()), addr}:
		return nil
	case <-p.closed:
		return net.ErrClosed
	}
}

func (p *packetPipe) Close() error {
	if p.once.CompareAndSwap(false, true) {
		close(p.closed)
	}
	return nil
}
func (p *packetPipe) LocalAddr() net.Addr              { return nil }
func (p *packetPipe) SetDeadline(time.Time) error      { return nil }
func (p *packetPipe) SetReadDeadline(time.Time) error  { return nil }
func (p *packetPipe) SetWriteDeadline(time.Time) error { return nil }

func TestRoutePacketConn(t *testing.T) {
	out := newPipeOutbound("direct")
	r := newRouter(t, option.Route{Audit: []string{"ip:203.0.113.0/24", "domain:bad.test"}}, set{"direct": out})
	client, m := newPacketPipe(), new(meter)
	done := make(chan error, 1)
	go func() { done <- r.RoutePacketConn(context.Background(), client, metadata("192.0.2.1:1000", m)) }()
	ok, bad, badName := M.ParseSocksaddr("192.0.2.1:1000"), M.ParseSocksaddr("203.0.113.9:1000"), M.ParseSocksaddr("www.bad.test:1000")
	for _, dst := range []M.Socksaddr{ok, bad, badName, bad, ok} {
		client.in <- datagram{"hello", dst}
	}
	remote := <-out.packets
	for range 2 {
		if d := <-remote.out; d.addr != ok || d.text != "hello" {
			t.Errorf("sent %q to %s", d.text, d.addr)
		}
	}
	stranger := M.ParseSocksaddr("198.51.100.77:7")
	remote.in <- datagram{"from a stranger", stranger}
	if d := <-client.out; d.addr != stranger {
		t.Errorf("answer from %s, want %s", d.addr, stranger)
	}
	select {
	case d := <-remote.out:
		t.Errorf("a denied packet went to %s", d.addr)
	default:
	}
	client.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if m.up.Load() != 10 || m.down.Load() != 15 || m.closed.Load() != 1 {
		t.Errorf("counted %d up, %d down, %d closes", m.up.Load(), m.down.Load(), m.closed.Load())
	}
}

func TestPacketSessionIdles(t *testing.T) {
	for name, tt := range map[string]struct {
		dst  string
		want time.Duration
	}{
		"dns":   {"192.0.2.1:53", 30 * time.Second},
		"other": {"192.0.2.1:1000", time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := newPipeOutbound("direct")
				r := newRouter(t, option.Route{}, set{"direct": out})
				client := newPacketPipe()
				md := metadata(tt.dst, new(meter))
				md.UDPTimeout = time.Minute
				begin := time.Now()
				done := make(chan error, 1)
				go func() { done <- r.RoutePacketConn(context.Background(), client, md) }()
				client.in <- datagram{"x", md.Destination}
				if err := <-done; !errors.Is(err, netio.ErrIdle) {
					t.Errorf("err = %v, want ErrIdle", err)
				}
				if d := time.Since(begin); d < tt.want || d > tt.want+10*time.Second {
					t.Errorf("ended after %s, want about %s", d, tt.want)
				}
			})
		})
	}
}

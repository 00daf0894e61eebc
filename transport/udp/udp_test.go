package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"heki/internal/netio"
	"heki/option"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func loopback(port uint16, addresses ...string) *option.Listen {
	if len(addresses) == 0 {
		addresses = []string{"127.0.0.1"}
	}
	return &option.Listen{Listen: option.Listable[string](addresses), ListenPort: port}
}

// sink takes datagrams, of everybody or of those it knows, and answers with its name.
type sink struct {
	name  string
	taken atomic.Int64
	known sync.Map // netip.AddrPort; none: everybody
	some  bool
	deny  bool // HandlePacket says that it was for somebody else
	over  atomic.Bool
	t     testing.TB
}

func (s *sink) Knows(from netip.AddrPort) bool {
	_, ok := s.known.Load(from)
	return ok || !s.some
}

func (s *sink) HandlePacket(socket *netio.PacketSocket, d netio.Datagram) bool {
	if s.over.Load() {
		s.t.Error("a datagram after Close")
	}
	defer netio.Put(d.Buffer)
	if s.deny {
		d.Buffer.Bytes()[0] = '?' // it may be changed in place
		return false
	}
	s.taken.Add(1)
	answer := s.name + ":" + string(d.Buffer.Bytes())
	if err := socket.Send([]byte(answer), d.From, d.Local); err != nil {
		s.t.Error(err)
	}
	return true
}

func portOf(l *Listener) uint16 { return uint16(l.Addr().(*net.UDPAddr).Port) }

func freePort(t testing.TB) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return uint16(c.LocalAddr().(*net.UDPAddr).Port)
}

func dial(t testing.TB, addr net.Addr) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, addr.(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func ask(t testing.TB, c *net.UDPConn, text string) string {
	t.Helper()
	_, _ = c.Write([]byte(text))
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 100)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func listenOn(t testing.TB, p *Pool, o *option.Listen, h Handler) *Listener {
	t.Helper()
	all, err := p.Listen(t.Context(), o, h)
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

// The newest owner gets what comes; a retired one only what it knows, unless that turns out to be for
// another one; nobody else's datagrams are changed by its look at them.
func TestOwners(t *testing.T) {
	var p Pool
	o := loopback(freePort(t))
	a, b := &sink{name: "a", t: t}, &sink{name: "b", t: t}
	first := listenOn(t, &p, o, a)
	known, other := dial(t, first.Addr()), dial(t, first.Addr())
	if got := ask(t, known, "1"); got != "a:1" {
		t.Errorf("got %q", got)
	}
	second := listenOn(t, &p, o, b)
	if got := ask(t, known, "2"); got != "b:2" {
		t.Errorf("got %q", got)
	}
	a.some = true
	a.known.Store(known.LocalAddr().(*net.UDPAddr).AddrPort(), true)
	first.Retire()
	for c, want := range map[*net.UDPConn]string{known: "a:3", other: "b:3"} {
		if got := ask(t, c, "3"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	third := listenOn(t, &p, o, &sink{name: "c", deny: true, some: true, t: t})
	third.Retire() // knows nobody
	if got := ask(t, other, "4"); got != "b:4" {
		t.Errorf("got %q", got)
	}
	_ = third.Close()
	fourth := listenOn(t, &p, o, &sink{name: "d", deny: true, t: t})
	fourth.Retire() // knows everybody, and takes nothing
	if got := ask(t, other, "5"); got != "b:5" {
		t.Errorf("got %q", got)
	}
	_, _, _ = fourth.Close(), first.Close(), second.Close()
	if err := second.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if len(p.ports) != 0 {
		t.Error("a port is left")
	}
}

// Owners replace each other while clients ask: every datagram is answered.
func TestTakeOver(t *testing.T) {
	var p Pool
	o := loopback(freePort(t))
	current := &sink{name: "0", t: t}
	l := listenOn(t, &p, o, current)
	var clients sync.WaitGroup
	stop, answered := make(chan struct{}), make(chan struct{})
	for range 4 {
		c := dial(t, l.Addr())
		clients.Go(func() {
			b := make([]byte, 100)
			for {
				_, _ = c.Write([]byte("x"))
				_ = c.SetReadDeadline(time.Now().Add(time.Minute))
				if _, err := c.Read(b); err != nil {
					t.Error(err)
					return
				}
				select {
				case answered <- struct{}{}:
				case <-stop:
					return
				}
			}
		})
	}
	for i := range 50 {
		next := &sink{name: fmt.Sprint(i), t: t}
		taker := listenOn(t, &p, o, next)
		l.Retire()
		<-answered
		_ = l.Close()
		current.over.Store(true)
		l, current = taker, next
	}
	close(stop)
	clients.Wait()
	_ = l.Close()
}

// All sockets of a port serve it, and another program cannot have it.
func TestSockets(t *testing.T) {
	var p Pool
	s := &sink{name: "a", t: t}
	l := listenOn(t, &p, loopback(0), s)
	defer l.Close()
	if n := len(l.port.sockets); n != loops(0) {
		t.Errorf("%d sockets", n)
	}
	for i := range 32 {
		if got := ask(t, dial(t, l.Addr()), fmt.Sprint(i)); got != fmt.Sprint("a:", i) {
			t.Errorf("got %q", got)
		}
	}
	if _, err := new(Pool).Listen(t.Context(), loopback(portOf(l)), s); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("another heki's port: %v", err)
	}
	shared := loopback(portOf(l))
	shared.ReuseAddr = true
	twin, err := new(Pool).Listen(t.Context(), shared, s)
	if err != nil {
		t.Fatalf("reuse_addr: %v", err)
	}
	_ = twin[0].Close()
	again := listenOn(t, &p, loopback(0), s)
	if portOf(again) == portOf(l) {
		t.Error("port 0 is shared")
	}
	_ = again.Close()
}

// Many ports have one socket each.
func TestManyPorts(t *testing.T) {
	var p Pool
	var all []*Listener
	for range fewPorts + 2 {
		all = append(all, listenOn(t, &p, loopback(freePort(t)), &sink{name: "a", t: t}))
	}
	for i, l := range all {
		if got := len(l.port.sockets); i < fewPorts && got != loops(0) || i >= fewPorts && got != 1 {
			t.Errorf("port %d has %d sockets", i, got)
		}
		if got := ask(t, dial(t, l.Addr()), "x"); got != "a:x" {
			t.Errorf("got %q", got)
		}
		_ = l.Close()
	}
}

// When the last address fails, the first is free again.
func TestListenAllOrNone(t *testing.T) {
	busy, err := net.ListenPacket("udp4", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := uint16(busy.LocalAddr().(*net.UDPAddr).Port)
	var p Pool
	if _, err := p.Listen(t.Context(), loopback(port, "127.0.0.1", "127.0.0.2"), new(sink)); !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("err = %v", err)
	}
	if len(p.ports) != 0 {
		t.Error("a port is left")
	}
	_ = listenOn(t, &p, loopback(port), new(sink)).Close()
	bad := loopback(0)
	bad.BindInterface = "nonexistent0"
	if _, err := p.Listen(context.Background(), bad, new(sink)); err == nil {
		t.Error("bound to an interface that is not there")
	}
	if _, err := p.Listen(context.Background(), loopback(0, "a.example"), new(sink)); err == nil {
		t.Error("listens on a name")
	}
}

package tcp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"heki/option"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		listen, want string
		err          bool
	}{
		{"", "[::]:80", false},
		{"0.0.0.0", "0.0.0.0:80", false},
		{"127.0.0.1,::1,127.0.0.1", "127.0.0.1:80,[::1]:80", false},
		{"a.example", "", true},
	} {
		o := &option.Listen{ListenPort: 80}
		if tt.listen != "" {
			o.Listen = strings.Split(tt.listen, ",")
		}
		addrs, err := Addresses(o)
		var got []string
		for _, a := range addrs {
			got = append(got, a.String())
		}
		if strings.Join(got, ",") != tt.want || (err != nil) != tt.err {
			t.Errorf("%q: %v, %v", tt.listen, got, err)
		}
	}
	all, err := Addresses(&option.Listen{Listen: option.Listable[string]{"all", "127.0.0.1"}})
	if err != nil || len(all) == 0 {
		t.Fatalf("all: %v, %v", all, err)
	}
	loops := 0
	for _, a := range all {
		if a.Addr() == netip.MustParseAddr("127.0.0.1") {
			loops++
		}
		if a.Addr().IsLinkLocalUnicast() || a.Addr().IsUnspecified() {
			t.Errorf("all has %s", a)
		}
	}
	if loops != 1 {
		t.Errorf("all = %v", all)
	}
}

func loopback(port uint16) *option.Listen {
	return &option.Listen{Listen: option.Listable[string]{"127.0.0.1"}, ListenPort: port}
}

func port(l net.Listener) uint16 { return uint16(l.Addr().(*net.TCPAddr).Port) }

func TestListen(t *testing.T) {
	o := loopback(0)
	o.ReuseAddr, o.TCPFastOpen = true, true
	all, err := Listen(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = all[0].Close() }()
	raw, _ := all[0].(*net.TCPListener).SyscallConn()
	if v := sockopt(t, raw, unix.SOL_SOCKET, unix.SO_REUSEPORT); v != 1 {
		t.Errorf("SO_REUSEPORT = %d", v)
	}
	if v := sockopt(t, raw, unix.IPPROTO_TCP, unix.TCP_FASTOPEN); v != fastOpenQueue {
		t.Errorf("TCP_FASTOPEN = %d", v)
	}
	if v := sockopt(t, raw, unix.SOL_SOCKET, unix.SO_PROTOCOL); v != unix.IPPROTO_TCP {
		t.Errorf("protocol = %d: MPTCP without being asked", v)
	}
	client, err := net.Dial("tcp", all[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := all[0].Accept()
	if err != nil {
		t.Fatal(err)
	}
	raw, _ = server.(*net.TCPConn).SyscallConn()
	if v := sockopt(t, raw, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE); v != 15 {
		t.Errorf("TCP_KEEPIDLE = %d", v)
	}
	_, _ = client.Close(), server.Close()

	o = loopback(0)
	o.BindInterface = "nonexistent0"
	if _, err := Listen(t.Context(), o); err == nil || !strings.Contains(err.Error(), "bind_interface") {
		t.Errorf("bind_interface: %v", err)
	}
}

func sockopt(t *testing.T, c syscall.RawConn, level, name int) (v int) {
	t.Helper()
	var err error
	if cerr := c.Control(func(fd uintptr) { v, err = unix.GetsockoptInt(int(fd), level, name) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return v
}

// When the last address fails, the first is free again.
func TestListenAllOrNone(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	o := &option.Listen{Listen: option.Listable[string]{"127.0.0.1", "127.0.0.2"}, ListenPort: port(busy)}
	var p Pool
	for _, open := range []func(context.Context, *option.Listen) ([]net.Listener, error){Listen, p.Listen} {
		if _, err := open(t.Context(), o); !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("err = %v", err)
		}
	}
	all, err := Listen(t.Context(), loopback(port(busy)))
	if err != nil {
		t.Fatal(err)
	}
	_ = all[0].Close()
}

func TestPoolClose(t *testing.T) {
	var p Pool
	first, err := p.Listen(t.Context(), loopback(freePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.Listen(t.Context(), loopback(port(first[0])))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := first[0].Accept()
		ended <- err
	}()
	_ = first[0].Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if err := first[0].Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	// Nobody accepts now, but the port is open, and what comes is the second's.
	client, err := net.Dial("tcp", second[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := second[0].Accept()
	if err != nil {
		t.Fatal(err)
	}
	if server.RemoteAddr().String() != client.LocalAddr().String() {
		t.Error("another connection")
	}
	waiting, err := net.Dial("tcp", second[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = second[0].Close()
	if _, err := waiting.Read(make([]byte, 1)); err == nil {
		t.Error("a connection without an owner is open")
	}
	if _, err := net.Dial("tcp", second[0].Addr().String()); err == nil {
		t.Error("the port is open")
	}
	if len(p.sockets) != 0 {
		t.Error("a socket is left")
	}
	_, _, _ = client.Close(), server.Close(), waiting.Close()
}

// freePort is free enough: tests listen on it at once.
func freePort(t *testing.T) uint16 {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return port(l)
}

func TestPortZeroIsNotShared(t *testing.T) {
	var p Pool
	a, err1 := p.Listen(t.Context(), loopback(0))
	b, err2 := p.Listen(t.Context(), loopback(0))
	if err1 != nil || err2 != nil || port(a[0]) == port(b[0]) {
		t.Fatalf("%v %v", err1, err2)
	}
	_, _ = a[0].Close(), b[0].Close()
}

// Owners replace each other while clients connect: each connection is served, none refused.
func TestTakeOver(t *testing.T) {
	var p Pool
	var owners, clients sync.WaitGroup
	var current net.Listener
	own := func(o *option.Listen) net.Listener {
		all, err := p.Listen(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		owners.Go(func() {
			for {
				c, err := all[0].Accept()
				if errors.Is(err, net.ErrClosed) {
					return
				}
				owners.Go(func() {
					_, _ = c.Write([]byte("ok"))
					_ = c.Close()
				})
			}
		})
		return all[0]
	}
	current = own(loopback(freePort(t)))
	addr, o := current.Addr().String(), loopback(port(current))
	var served atomic.Int64
	stop := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := io.ReadAll(c); string(got) != "ok" {
					t.Errorf("%q, %v", got, err)
				}
				_ = c.Close()
				served.Add(1)
			}
		})
	}
	for range 200 {
		before := served.Load()
		next := own(o)
		_ = current.Close()
		current = next
		for served.Load() < before+5 && !t.Failed() {
			c, err := net.Dial("tcp", addr) // and so yields
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.ReadAll(c)
			_ = c.Close()
		}
	}
	close(stop)
	clients.Wait()
	_ = current.Close()
	owners.Wait()
	t.Logf("%d connections", served.Load())
}

func BenchmarkAccept(b *testing.B) {
	var p Pool
	for _, tt := range []struct {
		name string
		open func(context.Context, *option.Listen) ([]net.Listener, error)
	}{{"pool", p.Listen}, {"socket", Listen}} {
		b.Run(tt.name, func(b *testing.B) {
			all, err := tt.open(b.Context(), loopback(0))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				client, err := net.Dial("tcp", all[0].Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				server, err := all[0].Accept()
				if err != nil {
					b.Fatal(err)
				}
				_, _ = client.Close(), server.Close()
			}
			_ = all[0].Close()
		})
	}
}

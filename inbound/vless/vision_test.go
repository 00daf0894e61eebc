package vless

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/inbound"
	"heki/internal/netio"
	"heki/internal/protocol/vless"
	"heki/option"
	"heki/transport/tcp"
)

// visionAccount is user i with the flow.
func visionAccount(i int) adapter.Account {
	a := account(i)
	a.Flow = vless.FlowVision
	return a
}

// meteredRouter connects to where the client asks, and counts.
type meteredRouter struct {
	up, down atomic.Int64
	paced    bool
	closed   chan error

	mu   sync.Mutex
	open []net.Conn
}

func (r *meteredRouter) RouteConn(_ context.Context, conn net.Conn, md *adapter.Metadata) error {
	remote, err := net.Dial("tcp", md.Destination.String())
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	r.mu.Lock()
	r.open = append(r.open, conn, remote)
	r.mu.Unlock()
	relay := netio.Relay{
		Up: func(n int64) { r.up.Add(n) }, Down: func(n int64) { r.down.Add(n) },
		Paced: func() bool { return r.paced }, Idle: time.Minute,
	}
	err = relay.Run(conn, remote)
	r.closed <- err
	return err
}

func (r *meteredRouter) RoutePacketConn(context.Context, N.PacketConn, *adapter.Metadata) error {
	return errors.New("no packets here")
}

// kick closes everything, as a router does for a user who is gone.
func (r *meteredRouter) kick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.open {
		_ = c.Close()
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// visionServer is a running inbound whose users have the flow.
type visionServer struct {
	inbound adapter.Inbound
	router  meteredRouter
	log     lines
	addr    string
}

func startVision(t testing.TB, change func(*option.Stream)) *visionServer {
	t.Helper()
	s := &visionServer{}
	s.router.closed = make(chan error, 1024) // more than any test has connections
	secure, _ := certificate(t)
	o := &option.VLESS{Stream: option.Stream{TLS: &secure}}
	o.Listen.Listen = option.Listable[string]{"127.0.0.1"}
	if change != nil {
		change(&o.Stream)
	}
	log := slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	in, err := New(inbound.Env{Router: &s.router, Listeners: new(tcp.Pool), Log: log}, "in", o)
	if err != nil {
		t.Fatal(err)
	}
	users := []*adapter.User{{Account: visionAccount(0)}, {Account: account(1)}}
	if err := in.(adapter.UserManager).SwapUsers(users); err != nil {
		t.Fatal(err)
	}
	if err := in.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	s.inbound = in
	s.addr = in.(interface{ Addresses() []net.Addr }).Addresses()[0].String()
	return s
}

func (s *visionServer) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c.(*net.TCPConn)
}

// site is a TLS 1.3 server that echoes, and ends its side when the client has ended its.
func site(t testing.TB) net.Addr {
	t.Helper()
	_, pair := certificate(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
				_ = c.(*tls.Conn).CloseWrite()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr()
}

// counted counts what passes, as the client's TLS library sees it.
type counted struct {
	net.Conn
	read, written atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// browse opens TLS to a site inside Vision, has one exchange, and lets the upload leave too.
func (s *visionServer) browse(t testing.TB) (*tls.Conn, *counted, *client) {
	t.Helper()
	outside := dialVision(visionAccount(0), M.SocksaddrFromNet(site(t)), s.dial(t))
	meter := &counted{Conn: outside}
	inside := tls.Client(meter, &tls.Config{InsecureSkipVerify: true})
	t.Cleanup(func() { _ = outside.Conn.Close() })
	for i, say := range []string{"hello", "again"} {
		if i == 1 {
			if err := outside.leave(); err != nil {
				t.Fatal(err)
			}
		}
		got := make([]byte, len(say))
		if _, err := inside.Write([]byte(say)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(inside, got); err != nil || string(got) != say {
			t.Fatalf("%q, %v", got, err)
		}
	}
	return inside, meter, outside
}

// Both directions leave TLS in the middle of a connection; no byte is lost, each is counted once, and
// an end of one side is passed on.
func TestVisionDirect(t *testing.T) {
	for name, paced := range map[string]bool{"spliced": false, "paced": true} {
		t.Run(name, func(t *testing.T) {
			s := startVision(t, nil)
			s.router.paced = paced
			inside, meter, outside := s.browse(t)
			data := make([]byte, 8<<20)
			_, _ = rand.Read(data)
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := inside.Write(data)
				err = errors.Join(err, inside.CloseWrite(), outside.CloseWrite())
				if err != nil {
					t.Error(err)
				}
			})
			got, err := io.ReadAll(inside)
			if err != nil || string(got) != string(data) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			wg.Wait()
			_ = outside.Conn.Close()
			if err := <-s.router.closed; err != nil {
				t.Error(err)
			}
			if up, down := s.router.up.Load(), s.router.down.Load(); up != meter.written.Load() || down != meter.read.Load() {
				t.Errorf("counted %d up, %d down, want %d, %d", up, down, meter.written.Load(), meter.read.Load())
			}
			for _, direction := range []string{"direction=up", "direction=down"} {
				if n := strings.Count(s.log.String(), direction); n != 1 {
					t.Errorf("%d log lines with %s, want 1", n, direction)
				}
			}
		})
	}
}

// A user who is gone is cut after the switch too, and nothing of TLS is added behind the payload.
func TestVisionKick(t *testing.T) {
	s := startVision(t, nil)
	_, _, outside := s.browse(t)
	s.router.kick()
	_ = outside.Conn.SetReadDeadline(time.Now().Add(time.Minute))
	n, err := outside.Conn.Read(make([]byte, 100))
	if n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the kick: %d bytes, %v", n, err)
	}
	<-s.router.closed
}

// Behind a load balancer the socket that is left to carries on.
func TestVisionProxyProtocol(t *testing.T) {
	s := startVision(t, func(o *option.Stream) {
		o.ProxyProtocol, o.TrustedProxies = option.ProxyRequired, option.Listable[string]{"127.0.0.0/8"}
	})
	dst := M.SocksaddrFromNet(site(t))
	conn := s.dial(t)
	_, _ = conn.Write([]byte("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"))
	outside := dialVision(visionAccount(0), dst, conn)
	inside := tls.Client(outside, &tls.Config{InsecureSkipVerify: true})
	for range 3 {
		_, _ = inside.Write([]byte("hello"))
		if _, err := io.ReadFull(inside, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
	}
	if log := s.log.String(); !strings.Contains(log, "direction=down") || !strings.Contains(log, "192.0.2.1") {
		t.Errorf("log = %s", log)
	}
}

// plainSite echoes, and ends its side when the client has ended its.
func plainSite(t testing.TB) M.Socksaddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return M.SocksaddrFromNet(l.Addr())
}

// What is no TLS inside leaves the padding and stays in the outer TLS.
func TestVisionPlain(t *testing.T) {
	s, dst := startVision(t, nil), plainSite(t)
	c := dialVision(visionAccount(0), dst, s.dial(t))
	for range 50 {
		_, _ = c.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		if _, err := io.ReadFull(c, make([]byte, 18)); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := c.Write(make([]byte, 1<<20))
		if err := errors.Join(err, c.CloseWrite()); err != nil {
			t.Error(err)
		}
	})
	if n, err := io.Copy(io.Discard, c); n != 1<<20 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	wg.Wait()
	if strings.Contains(s.log.String(), "direct copy") {
		t.Error("what is no TLS has left it")
	}
}

// The request and the first block may be cut anywhere.
func TestVisionSplit(t *testing.T) {
	s, dst := startVision(t, nil), plainSite(t)
	try := func(cut int) int {
		c := dialVision(visionAccount(0), dst, s.dial(t))
		defer c.Conn.Close()
		c.cut = cut
		size := len(c.request) + 16 + 5
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
			t.Fatalf("cut at %d: %q, %v", cut, got, err)
		}
		return size
	}
	for cut, n := 1, try(0); cut <= n+7; cut++ {
		try(cut)
	}
}

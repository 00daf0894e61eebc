package inbound_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"
	"github.com/xtaci/smux"

	"heki/adapter"
	"heki/inbound"
	"heki/inbound/trojan"
	"heki/internal/protocol/muxcool"
	"heki/internal/protocol/singmux"
	codec "heki/internal/protocol/trojan"
	"heki/option"
	"heki/transport/tcp"
)

// echoRouter echoes what is routed, as long as the user's meter lets it.
type echoRouter struct{}

func (echoRouter) RouteConn(ctx context.Context, conn net.Conn, md *adapter.Metadata) error {
	defer conn.Close()
	lease, err := md.User.Meter.Open(ctx, md.Source.Addr(), func() { go conn.Close() })
	if err != nil {
		return err
	}
	defer lease.Close()
	if md.Destination.Fqdn == "panic.test" {
		panic("as asked")
	}
	_, err = io.Copy(conn, conn)
	return err
}

func (echoRouter) RoutePacketConn(ctx context.Context, conn N.PacketConn, md *adapter.Metadata) error {
	defer conn.Close()
	lease, err := md.User.Meter.Open(ctx, md.Source.Addr(), func() { go conn.Close() })
	if err != nil {
		return err
	}
	defer lease.Close()
	for {
		b := buf.NewSize(2000)
		b.Resize(300, 0)
		from, err := conn.ReadPacket(b)
		if err != nil {
			b.Release()
			return err
		}
		if err := conn.WritePacket(b, from); err != nil {
			return err
		}
	}
}

// retirable is a meter that can be retired.
type retirable struct {
	mu      sync.Mutex
	retired bool
	open    int
}

func (m *retirable) Open(context.Context, netip.Addr, func()) (adapter.Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.retired {
		return nil, fmt.Errorf("%w: %w", adapter.ErrRemoved, adapter.ErrLimited)
	}
	m.open++
	return &seat{m: m}, nil
}

func (m *retirable) retire() {
	m.mu.Lock()
	m.retired = true
	m.mu.Unlock()
}

func (m *retirable) seats() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open
}

type seat struct {
	m    *retirable
	once sync.Once
}

func (*seat) Up(int64)    {}
func (*seat) Down(int64)  {}
func (*seat) Paced() bool { return false }
func (s *seat) Close() {
	s.once.Do(func() {
		s.m.mu.Lock()
		s.m.open--
		s.m.mu.Unlock()
	})
}

// muxServer is a Trojan inbound with one user.
type muxServer struct {
	address string
	meter   *retirable
	log     *lines
}

// lines is a log that can be read.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

func startMux(t *testing.T, multiplex *option.Multiplex) *muxServer {
	t.Helper()
	s := &muxServer{meter: new(retirable), log: new(lines)}
	env := inbound.Env{Router: echoRouter{}, Listeners: new(tcp.Pool), Log: slog.New(slog.NewTextHandler(s.log, nil))}
	o := &option.Trojan{Stream: option.Stream{Multiplex: multiplex}}
	o.Listen.Listen = option.Listable[string]{"127.0.0.1"}
	in, err := trojan.New(env, "in", o)
	if err != nil {
		t.Fatal(err)
	}
	user := &adapter.User{Account: protocol.Account(0), Meter: s.meter}
	if err := in.(adapter.UserManager).SwapUsers([]*adapter.User{user}); err != nil {
		t.Fatal(err)
	}
	if err := in.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	s.address = in.(interface{ Addresses() []net.Addr }).Addresses()[0].String()
	return s
}

// open connects to destination as the user.
func (s *muxServer) open(t *testing.T, destination M.Socksaddr) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	req := codec.Request{Key: codec.KeyOf(protocol.Account(0).Password), Command: codec.CommandTCP, Destination: destination}
	if _, err := c.Write(codec.AppendRequest(nil, req)); err != nil {
		t.Fatal(err)
	}
	return c
}

var singDestination = M.Socksaddr{Fqdn: singmux.Host, Port: 444}

// session opens a sing-mux connection.
func (s *muxServer) session(t *testing.T) *smux.Session {
	t.Helper()
	c := s.open(t, singDestination)
	if _, err := c.Write(singmux.AppendHello(nil, singmux.Hello{})); err != nil {
		t.Fatal(err)
	}
	config := smux.DefaultConfig()
	config.KeepAliveDisabled = true
	session, err := smux.Client(c, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

// stream opens a stream of session and checks its answer to payload.
func stream(t *testing.T, session *smux.Session, r singmux.Request, payload, want string) *smux.Stream {
	t.Helper()
	c, err := session.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(append(singmux.AppendRequest(nil, r), payload...)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got[:n], err, want)
	}
	return c
}

func TestSingMux(t *testing.T) {
	s := startMux(t, &option.Multiplex{Enabled: true})
	session := s.session(t)
	one := stream(t, session, singmux.Request{Destination: M.ParseSocksaddr("a.test:80")}, "hello", "\x00hello")
	two := stream(t, session, singmux.Request{UDP: true, Destination: M.ParseSocksaddr("1.2.3.4:53")}, "\x00\x05hello", "\x00\x00\x05hello")
	if n := s.meter.seats(); n != 2 {
		t.Errorf("%d leases, want one for each stream", n)
	}
	if c, err := session.OpenStream(); err == nil {
		if _, err := c.Write(singmux.AppendRequest(nil, singmux.Request{Destination: M.ParseSocksaddr("panic.test:1")})); err != nil {
			t.Error(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a stream whose handler panicked goes on")
		}
	}
	if s.log.count("as asked") != 1 {
		t.Error("the panic is not in the log")
	}
	if _, err := io.WriteString(one, "again"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(one, make([]byte, 5)); err != nil {
		t.Errorf("after another stream's panic: %v", err)
	}
	one.Close()
	two.Close()
	for range 10_000 {
		if s.meter.seats() == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("leases are kept")
}

// Where it is off, clients are closed, and the operator reads why, once.
func TestSingMuxOff(t *testing.T) {
	for _, o := range []*option.Multiplex{nil, {Padding: true}} {
		s := startMux(t, o)
		for range 3 {
			c := s.open(t, singDestination)
			if _, err := c.Write(singmux.AppendHello(nil, singmux.Hello{})); err != nil {
				t.Fatal(err)
			}
			if b, _ := io.ReadAll(c); len(b) > 0 {
				t.Errorf("answered %q", b)
			}
		}
		if n := s.log.count("set multiplex.enabled"); n != 1 {
			t.Errorf("%d lines, want 1", n)
		}
	}
}

func TestSingMuxWantsPadding(t *testing.T) {
	s := startMux(t, &option.Multiplex{Enabled: true, Padding: true})
	c := s.open(t, singDestination)
	if _, err := c.Write(singmux.AppendHello(nil, singmux.Hello{})); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); len(b) > 0 || err != nil && !errors.Is(err, net.ErrClosed) {
		t.Errorf("%q, %v", b, err)
	}
}

// A mux connection has no lease of its own. It ends with the first stream that finds the user gone.
func TestMuxEndsWithUser(t *testing.T) {
	t.Run("sing-mux", func(t *testing.T) {
		s := startMux(t, &option.Multiplex{Enabled: true})
		session := s.session(t)
		living := stream(t, session, singmux.Request{Destination: M.ParseSocksaddr("a.test:80")}, "hello", "\x00hello")
		s.meter.retire()
		if _, err := io.WriteString(living, "x"); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(living, make([]byte, 1)); err != nil {
			t.Errorf("a stream that was admitted is not ours to cut: %v", err)
		}
		if c, err := session.OpenStream(); err == nil {
			c.Write(singmux.AppendRequest(nil, singmux.Request{Destination: M.ParseSocksaddr("a.test:80")}))
		}
		if err := living.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := living.Read(make([]byte, 1)); err == nil || errors.Is(err, smux.ErrTimeout) {
			t.Errorf("the connection lives on: %v", err)
		}
	})
	t.Run("mux.cool", func(t *testing.T) {
		s := startMux(t, nil)
		c := s.open(t, M.Socksaddr{Fqdn: muxcool.Host, Port: 666})
		frame := muxcool.AppendFrame(nil, muxcool.Frame{ID: 1, Status: muxcool.StatusNew, Network: muxcool.NetworkTCP, Address: M.ParseSocksaddr("a.test:80")})
		s.meter.retire()
		if _, err := c.Write(frame); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
			t.Errorf("the connection lives on: %v", err)
		}
	})
}

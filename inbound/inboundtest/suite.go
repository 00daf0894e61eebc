// Package inboundtest is the conformance suite that every stream inbound runs.
package inboundtest

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/inbound"
	"heki/option"
	"heki/transport/tcp"
)

// Protocol is what the suite has to know of a protocol.
type Protocol struct {
	Type     string
	Register func(*inbound.Registry)
	// Options returns options that carry s.
	Options func(s option.Stream) option.InboundOptions
	// Account returns user i, each with its own credential.
	Account func(i int) adapter.Account
	// Header is the request of a for a TCP connection to dst.
	Header func(a adapter.Account, dst net.Addr) []byte
	// Answer is what the server sends before the first byte of the remote.
	Answer []byte
	// Stream is the client's end of a TCP connection of a to dst over conn, whose header goes out with
	// the first write. It is for protocols that encrypt: others leave it nil, Header and Answer say all.
	Stream func(a adapter.Account, dst net.Addr, conn Conn) Conn
	// NoHalfClose says that an end of one side is the end of both.
	NoHalfClose bool
	// Now is the server's clock. Nil is time.Now.
	Now func() time.Time
	// FirstRead is how many bytes have to come in one piece.
	FirstRead int
}

// Conn is a connection with a half-close.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// handshake is short, since those who are not users are left waiting for it.
const handshake = 500 * time.Millisecond

// Server is a running inbound.
type Server struct {
	Inbound adapter.Inbound
	Router  *Router
	Pool    *tcp.Pool
	addr    string
}

// patience is the handshake's time where a slow machine must not run out of it.
const patience = 15 * time.Second

// Waiting are options with the handshake's time.
func Waiting(d time.Duration) (o option.Stream) {
	o.HandshakeTimeout = option.Duration(d)
	return o
}

// Start runs p's inbound on a free port of loopback with users 0 to n-1.
func Start(t testing.TB, p Protocol, s option.Stream, n int) *Server {
	t.Helper()
	s.Listen.Listen = option.Listable[string]{"127.0.0.1"}
	if s.HandshakeTimeout == 0 {
		s.HandshakeTimeout = option.Duration(handshake)
	}
	server := &Server{Router: new(Router), Pool: new(tcp.Pool)}
	registry := inbound.NewRegistry()
	p.Register(registry)
	env := inbound.Env{Router: server.Router, Listeners: server.Pool, Log: slog.New(slog.DiscardHandler), Now: p.Now}
	in, err := registry.New(env, option.Inbound{Type: p.Type, Tag: "in", Options: p.Options(s)})
	if err != nil {
		t.Fatal(err)
	}
	server.Inbound = in
	if err := server.Swap(Users(p, n)); err != nil {
		t.Fatal(err)
	}
	if err := in.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	server.addr = in.(interface{ Addresses() []net.Addr }).Addresses()[0].String()
	return server
}

// Swap publishes users.
func (s *Server) Swap(users []*adapter.User) error {
	return s.Inbound.(adapter.UserManager).SwapUsers(users)
}

// Dial opens a plain connection to the inbound.
func (s *Server) Dial(t testing.TB) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// Serve sends a first flight, which request makes for a destination, and returns it once the server has
// reached that destination.
func Serve(t testing.TB, s *Server, request func(to M.Socksaddr) []byte) []byte {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first := request(M.SocksaddrFromNet(l.Addr()))
	if _, err := s.Dial(t).Write(first); err != nil {
		t.Fatal(err)
	}
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	return first
}

// Users returns users 0 to n-1 of p, each with a meter that can be kicked.
func Users(p Protocol, n int) []*adapter.User {
	users := make([]*adapter.User, n)
	for i := range users {
		users[i] = &adapter.User{Account: p.Account(i), Meter: new(Meter)}
	}
	return users
}

// Meter remembers what to kill.
type Meter struct {
	mu    sync.Mutex
	kills []func()
}

// Open implements adapter.Meter.
func (m *Meter) Open(_ context.Context, _ netipAddr, kill func()) (adapter.Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kills = append(m.kills, kill)
	return lease{}, nil
}

// Kick kills every connection opened so far.
func (m *Meter) Kick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, kill := range m.kills {
		kill()
	}
	m.kills = nil
}

type lease struct{}

func (lease) Up(int64)    {}
func (lease) Down(int64)  {}
func (lease) Paced() bool { return false }
func (lease) Close()      {}

// echo answers with what it reads, and ends its side when the client ended.
func echo(t testing.TB) net.Addr {
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
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr()
}

package remote

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"heki/constant"
	"heki/internal/netio"
	"heki/option"
	"heki/outbound/internal/outboundtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newServer(t testing.TB, o option.Remote, c option.Carrier, h outboundtest.Hosts) *Server {
	t.Helper()
	if err := errors.Join(o.Validate("x"), c.Validate("x")); err != nil {
		t.Fatal(err)
	}
	s, err := New(outboundtest.Env(h), &o, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestNames(t *testing.T) {
	at := outboundtest.Serve(t, func(c *netio.Conn) error {
		_, err := io.WriteString(c, "here")
		return err
	})
	at.Server = "two.example"
	h := outboundtest.Hosts{"two.example": {netip.MustParseAddr("127.0.0.9"), netip.MustParseAddr("127.0.0.1")}}
	c, err := newServer(t, at, option.Carrier{}, h).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	outboundtest.Says(t, c, "here")
	at.Server = "none.example"
	_, err = newServer(t, at, option.Carrier{}, h).Dial(t.Context())
	if err == nil || !strings.Contains(err.Error(), "server none.example:") || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("err = %v, want one that names the server and the reason", err)
	}
}

// A server that says nothing is left when the caller gives up.
func TestGreetEnds(t *testing.T) {
	came := make(chan struct{})
	at := outboundtest.Serve(t, func(c *netio.Conn) error {
		if _, err := c.Peek(1); err != nil {
			return err
		}
		close(came)
		_, _ = io.Copy(io.Discard, c) // until the client leaves
		return nil
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-came
		cancel(io.ErrNoProgress)
	}()
	_, err := newServer(t, at, option.Carrier{}, nil).Greet(ctx, func(c *netio.Conn) error {
		if _, err := io.WriteString(c, "anybody there?"); err != nil {
			return err
		}
		_, err := c.Peek(1)
		return err
	})
	if !errors.Is(err, io.ErrNoProgress) || !strings.Contains(err.Error(), "server 127.0.0.1:") {
		t.Errorf("err = %v, want the cause and the server", err)
	}
}

func TestGreetKeepsWhatFollows(t *testing.T) {
	at := outboundtest.Serve(t, func(c *netio.Conn) error {
		_, err := io.WriteString(c, "hello and more")
		return err
	})
	c, err := newServer(t, at, option.Carrier{}, nil).Greet(t.Context(), func(c *netio.Conn) error {
		_, err := c.Discard(len("hello"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	outboundtest.Says(t, c, " and more")
}

func TestDialPacket(t *testing.T) {
	l, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := uint16(l.LocalAddr().(*net.UDPAddr).Port)
	s := newServer(t, option.Remote{Server: "a.example", ServerPort: port}, option.Carrier{}, outboundtest.Hosts{"a.example": {netip.MustParseAddr("127.0.0.1")}})
	for _, to := range []netip.AddrPort{{}, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)} {
		c, err := s.DialPacket(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "hi")
		b := make([]byte, 10)
		_ = l.SetReadDeadline(time.Now().Add(outboundtest.Patience))
		if n, err := l.Read(b); string(b[:n]) != "hi" {
			t.Errorf("%q, %v", b[:n], err)
		}
		c.Close()
	}
}

func TestAuthority(t *testing.T) {
	for _, tt := range []struct {
		host        string
		port, usual uint16
		want        string
	}{
		{"a.example", 443, 443, "a.example"},
		{"a.example", 8443, 443, "a.example:8443"},
		{"2001:db8::1", 80, 80, "[2001:db8::1]"},
		{"2001:db8::1", 81, 80, "[2001:db8::1]:81"},
	} {
		if got := authority(tt.host, tt.port, tt.usual); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
}

func TestTakes(t *testing.T) {
	for _, tt := range []struct {
		network []string
		ask     string
		ok      bool
	}{
		{nil, constant.NetworkTCP, true},
		{nil, constant.NetworkUDP, true},
		{[]string{"tcp"}, constant.NetworkUDP, false},
		{[]string{"udp"}, constant.NetworkTCP, false},
		{[]string{"udp"}, constant.NetworkUDP, true},
	} {
		if err := Takes(&option.Packet{Network: tt.network}, tt.ask); (err == nil) != tt.ok {
			t.Errorf("%v, %s: %v", tt.network, tt.ask, err)
		}
	}
}

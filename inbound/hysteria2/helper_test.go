package hysteria2

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sagernet/quic-go"
	"github.com/sagernet/quic-go/http3"
	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"
	"go.uber.org/goleak"

	"heki/adapter"
	"heki/inbound"
	"heki/inbound/inboundtest"
	"heki/internal/protocol/hysteria2"
	"heki/option"
	"heki/transport/tcp"
	tlsserver "heki/transport/tls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// router connects streams to where they ask and echoes packets.
type router struct{ inboundtest.Router }

func (r *router) RouteConn(ctx context.Context, conn net.Conn, md *adapter.Metadata) error {
	remote, err := new(net.Dialer).DialContext(ctx, "tcp", md.Destination.String())
	answer := conn.(interface{ Upstream() any }).Upstream().(*streamConn)
	if err != nil {
		_ = answer.HandshakeFailure(err)
		return conn.Close()
	}
	_ = remote.Close()
	if err := answer.HandshakeSuccess(); err != nil {
		return err
	}
	return r.Router.RouteConn(ctx, conn, md)
}

func (r *router) RoutePacketConn(ctx context.Context, conn N.PacketConn, md *adapter.Metadata) error {
	defer conn.Close()
	lease, err := md.User.Meter.Open(ctx, md.Source.Addr(), func() { go conn.Close() })
	if err != nil {
		return err
	}
	defer lease.Close()
	for {
		b := buf.NewSize(70_000)
		to, err := conn.ReadPacket(b)
		if err != nil {
			b.Release()
			return err
		}
		if err := conn.WritePacket(b, to); err != nil {
			return err
		}
	}
}

func account(i int) adapter.Account {
	name := string(rune('a' + i))
	return adapter.Account{ID: int64(i + 1), Name: name, Password: "password of " + name}
}

func users(n int) []*adapter.User {
	all := make([]*adapter.User, n)
	for i := range all {
		all[i] = &adapter.User{Account: account(i), Meter: new(inboundtest.Meter)}
	}
	return all
}

// certificate is a self-signed one in the form of the options.
func certificate(t testing.TB) *option.TLS {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	pair := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return &option.TLS{
		Enabled:     true,
		Certificate: option.Listable[string]{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}))},
		Key:         option.Listable[string]{string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))},
	}
}

// start runs an inbound with n users on a free port of loopback.
func start(t testing.TB, o option.Hysteria2, n int) *Inbound {
	t.Helper()
	return startOn(t, new(Pool), o, n)
}

func startOn(t testing.TB, pool *Pool, o option.Hysteria2, n int) *Inbound {
	t.Helper()
	return startFrom(t, pool, o, n, nil)
}

// startFrom has the certificates of a source.
func startFrom(t testing.TB, pool *Pool, o option.Hysteria2, n int, source tlsserver.Source) *Inbound {
	t.Helper()
	o.Listen.Listen = option.Listable[string]{"127.0.0.1"}
	if o.TLS == nil {
		o.TLS = certificate(t)
	}
	built, err := New(inbound.Env{Router: new(router), Listeners: new(tcp.Pool), Certificates: source, Log: slog.New(slog.DiscardHandler)}, "in", &o, pool)
	if err != nil {
		t.Fatal(err)
	}
	in := built.(*Inbound)
	if err := in.SwapUsers(users(n)); err != nil {
		t.Fatal(err)
	}
	if err := in.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	return in
}

// client is a connection to an inbound.
type client struct {
	t    testing.TB
	conn *quic.Conn
	h3   *http3.ClientConn
}

// dial opens a connection that is a visitor's.
func dial(t testing.TB, in *Inbound) *client {
	t.Helper()
	return dialTo(t, in.Addresses()[0], in.o.Obfs)
}

func dialTo(t testing.TB, to net.Addr, obfs *option.Hysteria2Obfs) *client {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var conn net.PacketConn = socket
	if obfs != nil {
		if conn, err = newSockets([]*net.UDPConn{socket}, obfs.Password); err != nil {
			t.Fatal(err)
		}
	}
	tr := &quic.Transport{Conn: conn}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := tr.Dial(ctx, to, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}, &quic.Config{EnableDatagrams: true})
	if err != nil {
		t.Fatal(err)
	}
	h3 := new(http3.Transport)
	t.Cleanup(func() {
		_ = c.CloseWithError(0, "")
		_ = tr.Close()
		_ = conn.Close()
		_ = h3.Close()
	})
	return &client{t, c, h3.NewClientConn(c)}
}

// do makes a request.
func (c *client) do(method, url string, header http.Header) (*http.Response, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, url, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	resp, err := c.h3.RoundTrip(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, string(body)
}

// login authenticates with a password.
func (c *client) login(password string, rate uint64) *http.Response {
	c.t.Helper()
	resp, _ := c.do(http.MethodPost, "https://hysteria/auth", http.Header{
		hysteria2.HeaderAuth: {password}, hysteria2.HeaderRate: {strconv.FormatUint(rate, 10)}, hysteria2.HeaderPadding: {"xyz"},
	})
	return resp
}

// join is dial and login of user i.
func join(t testing.TB, in *Inbound, i int) *client {
	t.Helper()
	c := dial(t, in)
	if resp := c.login(account(i).Password, 0); resp.StatusCode != hysteria2.StatusOK {
		t.Fatalf("status %d", resp.StatusCode)
	}
	return c
}

// open opens a TCP stream and reads the answer.
func (c *client) open(to string) (*quic.Stream, hysteria2.Response) {
	c.t.Helper()
	s, err := c.conn.OpenStream()
	if err != nil {
		c.t.Fatal(err)
	}
	_ = s.SetDeadline(time.Now().Add(time.Minute))
	if _, err := s.Write(hysteria2.AppendRequest(nil, hysteria2.Request{Destination: M.ParseSocksaddr(to), Padding: 100})); err != nil {
		c.t.Fatal(err)
	}
	var b []byte
	for {
		one := make([]byte, 1)
		if _, err := io.ReadFull(s, one); err != nil {
			c.t.Fatal(err)
		}
		b = append(b, one...)
		if r, _, err := hysteria2.ParseResponse(b); err == nil {
			if _, err := io.CopyN(io.Discard, s, int64(r.Padding)); err != nil {
				c.t.Fatal(err)
			}
			return s, r
		}
	}
}

// echo is a TCP server that sends back what it gets, and ends its side when the client ended.
func echo(t testing.TB) string {
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
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

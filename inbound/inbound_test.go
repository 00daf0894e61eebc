package inbound_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	M "github.com/sagernet/sing/common/metadata"
	"go.uber.org/goleak"

	"heki/adapter"
	"heki/constant"
	"heki/inbound"
	"heki/inbound/inboundtest"
	"heki/inbound/trojan"
	"heki/internal/netio"
	codec "heki/internal/protocol/trojan"
	"heki/internal/protocol/wire"
	"heki/option"
	"heki/transport/tcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// protocol is Trojan: the chassis is the same for all.
var protocol = inboundtest.Protocol{
	Type:     constant.TypeTrojan,
	Register: trojan.Register,
	Options:  func(s option.Stream) option.InboundOptions { return &option.Trojan{Stream: s} },
	Account: func(i int) adapter.Account {
		return adapter.Account{ID: int64(i + 1), Name: strconv.Itoa(i), Password: "password " + strconv.Itoa(i)}
	},
	Header: func(a adapter.Account, dst net.Addr) []byte {
		return codec.AppendRequest(nil, codec.Request{Key: codec.KeyOf(a.Password), Command: codec.CommandTCP, Destination: M.SocksaddrFromNet(dst)})
	},
}

// secure returns TLS options with a self-signed certificate.
func secure(t testing.TB, alpn ...string) *option.TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"heki.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &option.TLS{
		Enabled: true, ALPN: alpn,
		Certificate: option.Listable[string]{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))},
		Key:         option.Listable[string]{string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))},
	}
}

func dialTLS(t testing.TB, s *inboundtest.Server, alpn ...string) *tls.Conn {
	t.Helper()
	c := tls.Client(s.Dial(t), &tls.Config{InsecureSkipVerify: true, NextProtos: alpn})
	t.Cleanup(func() { c.NetConn().Close() })
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

// A browser that opens the address of a TLS inbound without a fallback meets a web server.
func TestStrangersInsideTLSMeetAWebServer(t *testing.T) {
	s := inboundtest.Start(t, protocol, option.Stream{TLS: secure(t)}, 1)
	for name, tt := range map[string]struct {
		first string
		want  int
	}{
		"a page":     {"GET / HTTP/1.1\r\nHost: heki.test\r\n\r\n", 404},
		"garbage":    {"\x00\x01\x02\x03\r\n\r\n", 400},
		"wrong user": {strings.Repeat("0", 56) + "\r\n\x01\x01\x7f\x00\x00\x01\x00\x50\r\n", 400},
	} {
		t.Run(name, func(t *testing.T) {
			c := dialTLS(t, s)
			io.WriteString(c, tt.first)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tt.want || resp.Header.Get("Server") != "nginx" {
				t.Errorf("status %d of %q, %v; want %d of nginx", resp.StatusCode, resp.Header.Get("Server"), err, tt.want)
			}
			if strings.Contains(string(body), "page not found") {
				t.Errorf("Go's own page: %q", body)
			}
		})
	}
}

func TestSilentClientsOfTLSAreClosedWithoutAWord(t *testing.T) {
	s := inboundtest.Start(t, protocol, option.Stream{TLS: secure(t)}, 1)
	c := dialTLS(t, s)
	if got, err := io.ReadAll(c); len(got) > 0 || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %q, %v", got, err)
	}
}

// web answers every connection with its name and ends.
func web(t testing.TB, name string) option.Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 1024))
			io.WriteString(c, name)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return option.Server{Server: "127.0.0.1", ServerPort: uint16(l.Addr().(*net.TCPAddr).Port)}
}

func TestFallbackByALPN(t *testing.T) {
	usual, h2 := web(t, "usual"), web(t, "for h2")
	s := inboundtest.Start(t, protocol, option.Stream{
		TLS: secure(t, "h2", "http/1.1"), Fallback: &usual, FallbackForALPN: map[string]option.Server{"h2": h2},
	}, 1)
	for alpn, want := range map[string]string{"h2": "for h2", "http/1.1": "usual"} {
		c := dialTLS(t, s, alpn)
		io.WriteString(c, "PRI * HTTP/2.0\r\n\r\n")
		if got, err := io.ReadAll(c); string(got) != want || err != nil {
			t.Errorf("ALPN %q: got %q, %v; want %q", alpn, got, err, want)
		}
	}
}

func TestFallbackByPath(t *testing.T) {
	usual, h1, ws := web(t, "usual"), web(t, "for http/1.1"), web(t, "for /ws")
	s := inboundtest.Start(t, protocol, option.Stream{
		TLS: secure(t, "h2", "http/1.1"), Fallback: &usual,
		FallbackForALPN: map[string]option.Server{"http/1.1": h1}, FallbackForPath: map[string]option.Server{"/ws": ws},
	}, 1)
	for _, tt := range []struct{ alpn, first, rest, want string }{
		{"http/1.1", "GET /ws HTTP/1.1\r\n", "\r\n", "for /ws"},
		{"http/1.1", "GET /w", "s?ed=1 HTTP/1.1\r\n\r\n", "for /ws"},
		{"http/1.1", "GET /ws/ HTTP/1.1\r\n", "\r\n", "for http/1.1"},
		{"h2", "PRI * HTTP/2.0\r\n", "\r\n", "usual"},
		{"h2", "GET /ws HTTP/1.1\r\n", "\r\n", "for /ws"},
	} {
		c := dialTLS(t, s, tt.alpn)
		io.WriteString(c, tt.first)
		io.WriteString(c, tt.rest)
		if got, err := io.ReadAll(c); string(got) != tt.want || err != nil {
			t.Errorf("ALPN %q, %q: got %q, %v; want %q", tt.alpn, tt.first, got, err, tt.want)
		}
	}
}

func TestFallbackThatDoesNotAnswer(t *testing.T) {
	gone := web(t, "")
	gone.ServerPort = 1
	s := inboundtest.Start(t, protocol, option.Stream{Fallback: &gone}, 1)
	c := s.Dial(t)
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
	if got, err := io.ReadAll(c); len(got) > 0 {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestReadHeader(t *testing.T) {
	parse := func(b []byte) (string, int, error) {
		switch {
		case b[0] != 'H':
			return "", 0, errors.New("no H")
		case len(b) < 3:
			return "", 0, wire.ErrShort
		}
		return string(b[:3]), 3, nil
	}
	for _, tt := range []struct {
		name, in, header, rest string
		rejected               bool
	}{
		{"whole", "HEAyload", "HEA", "yload", false},
		{"refused", "GET /", "", "GET /", true},
		{"ended in the middle", "HE", "", "HE", true},
		{"ended before it", "", "", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, server := net.Pipe()
			defer server.Close()
			go func() {
				for i := range tt.in {
					client.Write([]byte{tt.in[i]})
				}
				client.Close()
			}()
			conn := netio.NewConn(server)
			header, err := inbound.ReadHeader(conn, parse, wire.ErrShort)
			if header != tt.header {
				t.Errorf("header = %q, want %q", header, tt.header)
			}
			var rejected *inbound.Rejected
			if errors.As(err, &rejected) != tt.rejected || (err == nil) != (tt.header != "") {
				t.Errorf("err = %v", err)
			}
			rest, _ := io.ReadAll(conn)
			if string(rest) != tt.rest {
				t.Errorf("rest = %q, want %q", rest, tt.rest)
			}
		})
	}
}

func TestReadHeaderIsBounded(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go client.Write(make([]byte, 1<<20))
	_, err := inbound.ReadHeader(netio.NewConn(server), func([]byte) (int, int, error) { return 0, 0, wire.ErrShort }, wire.ErrShort)
	var rejected *inbound.Rejected
	if !errors.As(err, &rejected) {
		t.Errorf("err = %v, want a rejection", err)
	}
}

func newManager() *inbound.Manager {
	r := inbound.NewRegistry()
	trojan.Register(r)
	return inbound.NewManager(r, inbound.Env{Router: new(inboundtest.Router), Listeners: new(tcp.Pool), Log: slog.New(slog.DiscardHandler)})
}

func listening(port uint16) option.Inbound {
	s := option.Stream{Listen: option.Listen{Listen: option.Listable[string]{"127.0.0.1"}, ListenPort: port}}
	return option.Inbound{Type: constant.TypeTrojan, Tag: "in", Options: &option.Trojan{Stream: s}}
}

func TestManagerKeepsTheOldWhenTheNewCannotStart(t *testing.T) {
	m := newManager()
	defer m.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := uint16(l.Addr().(*net.TCPAddr).Port)
	if _, err := m.Replace(listening(0), inboundtest.Users(protocol, 1)); err != nil {
		t.Fatal(err)
	}
	addr := m.Get("in").(interface{ Addresses() []net.Addr }).Addresses()[0].String()
	for name, in := range map[string]option.Inbound{
		"taken port":   listening(taken),
		"unknown type": {Type: "nosuch", Tag: "in"},
	} {
		if _, err := m.Replace(in, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := m.Replace(listening(0), append(inboundtest.Users(protocol, 1), inboundtest.Users(protocol, 1)...)); err == nil {
		t.Error("two users with one password: no error")
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatalf("the old inbound is gone: %v", err)
	}
	c.Close()
	m.Retire()
	if _, err := m.Replace(listening(0), nil); !errors.Is(err, inbound.ErrClosed) {
		t.Errorf("err = %v, want ErrClosed", err)
	}
}

func TestManagerRetiresAndRemoves(t *testing.T) {
	m := newManager()
	defer m.Close()
	address := func() string { return m.Get("in").(interface{ Addresses() []net.Addr }).Addresses()[0].String() }
	users := inboundtest.Users(protocol, 1)
	if _, err := m.Replace(listening(0), users); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(protocol.Header(protocol.Account(0), l.Addr()))
	site, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer site.Close()
	old := address()
	if _, err := m.Replace(listening(0), users); err != nil { // port 0: another port
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", old); err == nil {
		t.Error("a retired inbound accepts")
	}
	b := make([]byte, 5)
	io.WriteString(site, "lives")
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "lives" {
		t.Errorf("a retired inbound's connection: %q, %v", b, err)
	}
	if err := m.Remove("in"); err != nil {
		t.Error(err)
	}
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := c.Read(b); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a removed inbound's connection: %v", err)
	}
}

func BenchmarkSwap(b *testing.B) {
	const n = 50_000
	users := make([]*adapter.User, n)
	for i := range users {
		users[i] = &adapter.User{Account: adapter.Account{Name: fmt.Sprint(i)}}
		rand.Read(users[i].UUID[:])
	}
	var table inbound.Table[[16]byte]
	b.Run("50000 users", func(b *testing.B) {
		for b.Loop() {
			if err := table.Swap(users, func(u *adapter.User) ([16]byte, error) { return u.UUID, nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("lookup", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := table.Lookup(users[7].UUID); !ok {
				b.Fatal("not found")
			}
		}
	})
}

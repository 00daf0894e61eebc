package inbound_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"heki/adapter"
	"heki/inbound"
	"heki/internal/netio"
	"heki/option"
	"heki/transport/proxyproto"
	"heki/transport/tcp"
)

// told answers every stream with what its metadata says, and then with what it reads.
type told struct{}

func (told) ServeStream(_ context.Context, conn *netio.Conn, md *adapter.Metadata) error {
	if _, err := conn.Peek(1); err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "%s to %s\n", md.Source.Addr(), md.Local.Addr()); err != nil {
		return err
	}
	_, err := io.Copy(conn, conn)
	return err
}

// startTold runs a chassis on loopback and returns its address.
func startTold(t testing.TB, o option.Stream) string {
	t.Helper()
	o.Listen.Listen = option.Listable[string]{"127.0.0.1"}
	if o.HandshakeTimeout == 0 {
		o.HandshakeTimeout = option.Duration(5 * time.Second)
	}
	s, err := inbound.NewStream(inbound.Env{Listeners: new(tcp.Pool), Log: slog.New(slog.DiscardHandler)}, "in", "told", &o, told{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s.Addresses()[0].String()
}

var (
	proxied = proxyproto.Header{
		Source:      netip.MustParseAddrPort("192.0.2.1:8080"),
		Destination: netip.MustParseAddrPort("198.51.100.2:443"),
	}
	v1    = string(proxyproto.AppendV1(nil, proxied))
	v2    = string(proxyproto.AppendV2(nil, proxied, 4, 0, 1, 0))
	local = string(proxyproto.AppendV2(nil, proxyproto.Header{}))
)

// ask sends what in one write and returns the answer up to the end of the stream.
func ask(t *testing.T, address, what string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, what); err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).CloseWrite()
	got, _ := io.ReadAll(c) // a refusal may be a reset
	return string(got)
}

func TestProxyProtocol(t *testing.T) {
	const (
		other = "192.0.2.1 to 127.0.0.1\n"
		self  = "127.0.0.1 to 127.0.0.1\n"
	)
	here, elsewhere := []string{"10.0.0.0/8", "127.0.0.0/8"}, []string{"10.0.0.0/8"}
	for _, tt := range []struct {
		mode     string
		trusted  []string
		in, want string
	}{
		{"", nil, v1 + "hello", self + v1 + "hello"},
		{option.ProxyOff, nil, v1 + "hello", self + v1 + "hello"},
		{option.ProxyOptional, nil, v1 + "hello", other + "hello"},
		{option.ProxyOptional, nil, v2 + "hello", other + "hello"},
		{option.ProxyOptional, nil, local + "hello", self + "hello"},
		{option.ProxyOptional, nil, "hello", self + "hello"},
		{option.ProxyOptional, nil, "PROXY", self + "PROXY"},
		{option.ProxyOptional, here, v1 + "hello", other + "hello"},
		{option.ProxyOptional, elsewhere, v1 + "hello", self + v1 + "hello"},
		{option.ProxyRequired, nil, v1 + "hello", other + "hello"},
		{option.ProxyRequired, nil, local + "hello", self + "hello"},
		{option.ProxyRequired, nil, "hello", ""},
		{option.ProxyRequired, nil, "PROXY TCP4 x\r\nhello", ""},
		{option.ProxyRequired, here, v2 + "hello", other + "hello"},
		{option.ProxyRequired, elsewhere, v2 + "hello", ""},
	} {
		t.Run(fmt.Sprintf("%s from %v: %q", tt.mode, tt.trusted, tt.in), func(t *testing.T) {
			address := startTold(t, option.Stream{Listen: option.Listen{ProxyProtocol: tt.mode, TrustedProxies: tt.trusted}})
			if got := ask(t, address, tt.in); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// dialBehind opens a TLS connection behind header.
func dialBehind(t testing.TB, address, header string) net.Conn {
	t.Helper()
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	if _, err := io.WriteString(raw, header); err != nil {
		t.Fatal(err)
	}
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestProxyProtocolBeforeTLS(t *testing.T) {
	address := startTold(t, option.Stream{Listen: option.Listen{ProxyProtocol: option.ProxyRequired}, TLS: secure(t)})
	for _, header := range []string{v1, v2} {
		c := dialBehind(t, address, header)
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("192.0.2.1 to 127.0.0.1\nhello"))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "192.0.2.1 to 127.0.0.1\nhello" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// The peer that X-Forwarded-For is believed from is the one of the PROXY header: clients of a load
// balancer must not name themselves.
func TestForwardedForBehindProxy(t *testing.T) {
	for trusted, want := range map[string]string{
		"127.0.0.0/8": "192.0.2.1", // the load balancer is trusted, its client is not
		"0.0.0.0/0":   "203.0.113.9",
	} {
		address := startTold(t, option.Stream{
			Listen:    option.Listen{ProxyProtocol: option.ProxyRequired, TrustedProxies: option.Listable[string]{trusted}},
			Transport: &option.Transport{Type: "ws", Path: "/"},
		})
		got := ask(t, address, v2+"GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 203.0.113.9\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"+"\x82\x81\x00\x00\x00\x00x")
		_, frame, _ := bytes.Cut([]byte(got), []byte("\r\n\r\n"))
		if !bytes.Contains(frame, []byte(want+" to ")) {
			t.Errorf("trusted %s: got %q, want the source %s", trusted, got, want)
		}
	}
}

// BenchmarkIdleProxied prints what an idle TLS connection costs with and without a PROXY header, the
// client's side in the same process included.
func BenchmarkIdleProxied(b *testing.B) {
	const conns = 300
	for _, mode := range []string{option.ProxyOff, option.ProxyRequired} {
		b.Run(mode, func(b *testing.B) {
			header := ""
			if mode == option.ProxyRequired {
				header = v2
			}
			address := startTold(b, option.Stream{Listen: option.Listen{ProxyProtocol: mode}, TLS: secure(b)})
			var total float64
			for b.Loop() {
				before := inUse()
				open := make([]net.Conn, conns)
				for i := range open {
					open[i] = dialBehind(b, address, header)
					_, _ = io.WriteString(open[i], "hello")
					_, _ = io.ReadFull(open[i], make([]byte, 28))
				}
				total += float64(inUse()-before) / conns
				for _, c := range open {
					_ = c.Close()
				}
			}
			b.ReportMetric(total/float64(b.N)/1024, "KiB/conn")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

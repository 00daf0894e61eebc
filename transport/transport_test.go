package transport

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"heki/internal/netio"
	"heki/option"
	"heki/transport/tls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNewServer(t *testing.T) {
	for _, tt := range []struct {
		o    *option.Transport
		is   string
		alpn []string
		err  string
	}{
		{nil, "<nil>", nil, ""},
		{&option.Transport{}, "<nil>", nil, ""},
		{&option.Transport{Type: "tcp"}, "<nil>", nil, ""},
		{&option.Transport{Type: "ws"}, "*ws.Server", []string{"http/1.1"}, ""},
		{&option.Transport{Type: "httpupgrade"}, "*httpupgrade.Server", []string{"http/1.1"}, ""},
		{&option.Transport{Type: "tcp_http_header"}, "*httpheader.Server", nil, ""},
		{&option.Transport{Type: "http"}, "*h2.Server", []string{"h2", "http/1.1"}, ""},
		{&option.Transport{Type: "grpc"}, "*grpc.Server", []string{"h2", "http/1.1"}, ""},
		{&option.Transport{Type: "kcp"}, "<nil>", nil, `transport "kcp" is unknown`},
	} {
		s, err := NewServer(tt.o, nil)
		if fmt.Sprintf("%T", s) != tt.is || (err != nil || tt.err != "") && fmt.Sprint(err) != tt.err {
			t.Errorf("%+v: %T, %v", tt.o, s, err)
		}
		if got := ALPN(tt.o); !slices.Equal(got, tt.alpn) {
			t.Errorf("%+v: ALPN %v", tt.o, got)
		}
	}
}

func newTLS(t testing.TB, o *option.Transport) *tls.Server {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a.example"}}
	der, err1 := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	raw, err2 := x509.MarshalPKCS8PrivateKey(key)
	s, err3 := tls.New(&option.TLS{
		ALPN:        option.Listable[string]{"h2", "http/1.1"},
		Certificate: option.Listable[string]{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))},
		Key:         option.Listable[string]{string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))},
	}, ALPN(o))
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	return s
}

// wss opens a WebSocket over TLS as net/http does it, and returns it beside the server's stream. The
// channel must be closed when that is done with.
func wss(t testing.TB, secure *tls.Server, s Server) (io.ReadWriteCloser, net.Conn, chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	streams, done := make(chan net.Conn, 1), make(chan struct{})
	go func() {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		_ = raw.SetDeadline(time.Now().Add(time.Minute))
		conn, err := secure.Handshake(context.Background(), raw)
		if err != nil {
			t.Error(err)
			return
		}
		_ = s.Serve(context.Background(), conn, func(_ context.Context, c net.Conn, _ netip.AddrPort) {
			_ = c.SetDeadline(time.Time{})
			streams <- c
			<-done
		})
	}()
	req, _ := http.NewRequest("GET", "https://"+l.Addr().String()+"/ws", nil)
	for k, v := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket",
		"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	} {
		req.Header.Set(k, v)
	}
	transport := &http.Transport{
		TLSClientConfig:   &stdtls.Config{InsecureSkipVerify: true, ServerName: "a.example", NextProtos: []string{"h2", "http/1.1"}},
		DisableKeepAlives: true,
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 {
		t.Fatal(resp.Status)
	}
	return resp.Body.(io.ReadWriteCloser), <-streams, done
}

func frame(payload []byte) []byte {
	b := []byte{0x82, 0x80 | 127, 0, 0, 0, 0, byte(len(payload) >> 24), byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), 0, 0, 0, 0}
	return append(b, payload...) // the mask is zero
}

func TestWSS(t *testing.T) {
	s, err := NewServer(&option.Transport{Type: "ws", Path: "/ws"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	client, stream, done := wss(t, newTLS(t, &option.Transport{Type: "ws"}), s)
	data := make([]byte, 4<<20)
	_, _ = rand.Read(data)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = client.Write(frame(data)) })
	var got []byte
	w := netio.NewWaiter(stream)
	for len(got) < len(data) {
		b, err := w.WaitReadBuffer()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b.Bytes()...)
		netio.Put(b)
	}
	wg.Wait()
	if !bytes.Equal(got, data) {
		t.Error("up: other bytes")
	}
	wg.Go(func() { _, _ = stream.Write(data) })
	got = got[:0]
	for len(got) < len(data) {
		var h [4]byte
		if _, err := io.ReadFull(client, h[:]); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, int(h[2])<<8|int(h[3]))
		if _, err := io.ReadFull(client, p); err != nil {
			t.Fatal(err)
		}
		got = append(got, p...)
	}
	wg.Wait()
	if !bytes.Equal(got, data) {
		t.Error("down: other bytes")
	}
	go func() { _ = client.Close() }()
	if _, err := w.WaitReadBuffer(); err != io.EOF && err != io.ErrUnexpectedEOF && !strings.Contains(err.Error(), "reset") {
		t.Errorf("end: %v", err)
	}
	_ = stream.Close()
	close(done)
}

// BenchmarkIdleWSS prints what an idle WebSocket over TLS costs besides the two goroutines of a relay.
func BenchmarkIdleWSS(b *testing.B) {
	const conns = 200
	s, err := NewServer(&option.Transport{Type: "ws", Path: "/ws"}, nil)
	if err != nil {
		b.Fatal(err)
	}
	secure := newTLS(b, &option.Transport{Type: "ws"})
	var total float64
	for b.Loop() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		var clients, servers []net.Conn
		for range conns {
			c, err1 := net.Dial("tcp", l.Addr().String())
			a, err2 := l.Accept()
			if err1 != nil || err2 != nil {
				b.Fatal(err1, err2)
			}
			clients, servers = append(clients, c), append(servers, a)
		}
		_ = l.Close()
		var wg sync.WaitGroup
		before := memory()
		for i := range conns {
			wg.Go(func() {
				conn, err := secure.Handshake(context.Background(), servers[i])
				if err != nil {
					b.Error(err)
					return
				}
				_ = s.Serve(context.Background(), conn, func(_ context.Context, c net.Conn, _ netip.AddrPort) {
					_, _ = netio.NewWaiter(c).WaitReadBuffer()
					_ = c.Close()
				})
			})
			upgradeOver(b, clients[i])
		}
		total += float64(memory()-before) / conns
		for _, c := range clients {
			_ = c.Close()
		}
		wg.Wait()
	}
	b.ReportMetric(total/float64(b.N)/1024, "KiB/conn")
	b.ReportMetric(0, "ns/op")
}

func upgradeOver(b *testing.B, raw net.Conn) {
	c := stdtls.Client(raw, &stdtls.Config{InsecureSkipVerify: true})
	_, err := io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1024)); err != nil {
		b.Fatal(err)
	}
}

func memory() int64 {
	var m runtime.MemStats
	for range 4 { // stacks shrink by half a cycle
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

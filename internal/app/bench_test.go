package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/trojan"
)

// certificate writes a self-signed pair and returns its paths.
func certificate(t testing.TB) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "heki.test"}, DNSNames: []string{"heki.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// BenchmarkIdle prints what one idle connection of a user costs the whole program in heap and stack,
// after 4 KiB up and 16 KiB down, or after 1 MiB each way. The client's and the target's sockets of
// this process are in it too, as net.Conn without a goroutine: about 1 KiB.
// Goals: plain at most 12 KiB, TLS at most 25 KiB.
func BenchmarkIdle(b *testing.B) {
	cert, key := certificate(b)
	secure := object{"enabled": true, "certificate_path": cert, "key_path": key}
	for _, bench := range []struct {
		name     string
		extra    object
		wrap     bool
		up, down int
	}{
		{"plain", nil, false, 4 << 10, 16 << 10},
		{"plain after 1 MiB", nil, false, 1 << 20, 1 << 20},
		{"tls", object{"tls": secure}, true, 4 << 10, 16 << 10},
		{"tls after 1 MiB", object{"tls": secure}, true, 1 << 20, 1 << 20},
	} {
		b.Run(bench.name, func(b *testing.B) {
			port := freePort(b)
			in := trojanInbound("in", port, object{"password": "a"})
			for k, v := range bench.extra {
				in[k] = v
			}
			run(b, object{"inbounds": []object{in}})
			var total float64
			for b.Loop() {
				total += idleCost(b, port, bench.wrap, bench.up, bench.down)
			}
			b.ReportMetric(total/float64(b.N)/1024, "KiB/conn")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// idleCost opens connections, uses each once and leaves it open.
func idleCost(b *testing.B, port int, secure bool, up, down int) float64 {
	const conns = 300
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	header := trojan.AppendRequest(nil, trojan.Request{
		Key: trojan.KeyOf("a"), Command: trojan.CommandTCP, Destination: M.SocksaddrFromNet(l.Addr()),
	})
	open := make([]net.Conn, 0, 2*conns)
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	chunk := make([]byte, 1<<20)
	before := memory()
	for range conns {
		raw := dial(b, port)
		var c net.Conn = raw
		if secure { // the client's TLS state is garbage once the exchange is over
			c = tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		}
		go c.Write(append(header[:len(header):len(header)], chunk[:up]...))
		site, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, site, int64(up)); err != nil {
			b.Fatal(err)
		}
		go site.Write(chunk[:down])
		if _, err := io.CopyN(io.Discard, c, int64(down)); err != nil {
			b.Fatal(err)
		}
		open = append(open, raw, site)
	}
	return float64(memory()-before) / conns
}

// memory is the live heap and the stacks, after a collection has freed and shrunk what it can.
func memory() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

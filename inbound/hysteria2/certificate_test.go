package hysteria2

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"heki/option"
	tlsserver "heki/transport/tls"
)

// New certificate files are those of new connections within seconds; open connections do not notice.
func TestCertificateFiles(t *testing.T) {
	dir, to := t.TempDir(), echo(t)
	files := &option.TLS{Enabled: true, CertificatePath: filepath.Join(dir, "cert.pem"), KeyPath: filepath.Join(dir, "key.pem")}
	write := func(o *option.TLS) *x509.Certificate {
		for path, content := range map[string]string{files.KeyPath: o.Key[0], files.CertificatePath: o.Certificate[0]} {
			if err := os.WriteFile(path+"~", []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+"~", path); err != nil {
				t.Fatal(err)
			}
		}
		block, _ := pem.Decode([]byte(o.Certificate[0]))
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return leaf
	}
	first := write(certificate(t))
	in := start(t, option.Hysteria2{Stream: option.Stream{TLS: files}}, 1)
	old := join(t, in, 0)
	if got := old.conn.ConnectionState().TLS.PeerCertificates[0]; !got.Equal(first) {
		t.Error("not the first certificate")
	}
	s, _ := old.open(to)
	next := write(otherCertificate(t))
	for {
		c := dial(t, in)
		now := c.conn.ConnectionState().TLS.PeerCertificates[0]
		_ = c.conn.CloseWithError(0, "")
		if now.Equal(next) {
			break
		}
		if !now.Equal(first) {
			t.Fatal("a third certificate")
		}
	}
	if _, err := io.WriteString(s, "alive"); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
		t.Errorf("the connection from before: %v", err)
	}
}

// ordered is a certificate that comes late and is replaced.
type ordered struct {
	current atomic.Pointer[stdtls.Certificate]
	looked  atomic.Int32 // after it
}

func (o *ordered) Certificate(*option.TLS) (tlsserver.Certificate, error) { return o, nil }
func (o *ordered) Challenge(*stdtls.ClientHelloInfo) *stdtls.Config       { return nil }
func (o *ordered) Start([]net.Addr) error                                 { o.looked.Add(1); return nil }
func (o *ordered) Stop()                                                  { o.looked.Store(0) }
func (o *ordered) Current() *stdtls.Certificate                           { return o.current.Load() }

func (o *ordered) set(t *testing.T, from *option.TLS) *x509.Certificate {
	t.Helper()
	pair, err := stdtls.X509KeyPair([]byte(from.Certificate[0]), []byte(from.Key[0]))
	if err != nil {
		t.Fatal(err)
	}
	o.current.Store(&pair)
	return pair.Leaf
}

// A certificate that is ordered is used by the next connection, and open ones do not notice.
func TestOrderedCertificate(t *testing.T) {
	source, to := new(ordered), echo(t)
	first := source.set(t, certificate(t))
	o := option.Hysteria2{Stream: option.Stream{TLS: &option.TLS{Enabled: true, ACME: &option.ACME{Domain: []string{"a.example"}}}}}
	in := startFrom(t, new(Pool), o, 1, source)
	if source.looked.Load() != 1 {
		t.Error("nobody looks after the certificate")
	}
	old := join(t, in, 0)
	if got := old.conn.ConnectionState().TLS.PeerCertificates[0]; !got.Equal(first) {
		t.Error("not the first certificate")
	}
	s, _ := old.open(to)
	next := source.set(t, otherCertificate(t))
	if got := dial(t, in).conn.ConnectionState().TLS.PeerCertificates[0]; !got.Equal(next) {
		t.Error("not the next certificate")
	}
	if _, err := io.WriteString(s, "alive"); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
		t.Errorf("the connection from before: %v", err)
	}
	if in.Retire(); source.looked.Load() != 0 {
		t.Error("the certificate of a retired inbound is still looked after")
	}
}

// otherCertificate differs from that of certificate, which is always the same one.
func otherCertificate(t *testing.T) *option.TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{"a.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &option.TLS{
		Certificate: option.Listable[string]{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))},
		Key:         option.Listable[string]{string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))},
	}
}

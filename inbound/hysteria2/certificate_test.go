package hysteria2

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"heki/option"
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

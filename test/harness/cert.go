package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// ServerName is the name in the certificate that the servers show.
const ServerName = "heki.test"

// Certificate is a leaf for ServerName and 127.0.0.1, signed by a CA that only this test knows.
type Certificate struct {
	CAPath   string // PEM, what sing-box trusts
	CertPath string // PEM, leaf and CA
	KeyPath  string // PEM
	CertPEM  string
	KeyPEM   string
	SHA256   string // of the leaf's DER in hex, what Xray pins
	Pool     *x509.CertPool
}

// NewCertificate makes a CA and a leaf and writes them below the test's folder.
func NewCertificate(t testing.TB) *Certificate {
	t.Helper()
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "heki test CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caKey := newKey(t)
	caDER := sign(t, ca, ca, caKey, caKey)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: ServerName},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		DNSNames: []string{ServerName}, IPAddresses: []net.IP{net.ParseIP(Loopback)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	key := newKey(t)
	der := sign(t, leaf, ca, key, caKey)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	caPEM, certPEM := toPEM("CERTIFICATE", caDER), toPEM("CERTIFICATE", der)
	dir := t.TempDir()
	c := &Certificate{
		CAPath: filepath.Join(dir, "ca.pem"), CertPath: filepath.Join(dir, "cert.pem"), KeyPath: filepath.Join(dir, "key.pem"),
		CertPEM: certPEM + caPEM, KeyPEM: toPEM("PRIVATE KEY", keyDER), SHA256: hex.EncodeToString(sum[:]), Pool: x509.NewCertPool(),
	}
	c.Pool.AppendCertsFromPEM([]byte(caPEM))
	for path, text := range map[string]string{c.CAPath: caPEM, c.CertPath: c.CertPEM, c.KeyPath: c.KeyPEM} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, cert, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func toPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

package tls

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"heki/option"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newPEM makes a self-signed certificate for the names.
func newPEM(t testing.TB, serial int64, names ...string) (cert, key string) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: "old.example"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     names,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

func newServer(t testing.TB, change func(*option.TLS)) *Server {
	t.Helper()
	cert, key := newPEM(t, 1, "a.example", "*.b.example")
	o := &option.TLS{Certificate: option.Listable[string]{cert}, Key: option.Listable[string]{key}}
	if change != nil {
		change(o)
	}
	s, err := New(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tcpPair returns the two ends of a loopback connection.
func tcpPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

// connect shakes hands over a loopback connection.
func connect(t testing.TB, s *Server, config *tls.Config) (*tls.Conn, *Conn) {
	t.Helper()
	a, b := tcpPair(t)
	client, server := handshake(t, s, a, b, config)
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return client, server
}

func handshake(t testing.TB, s *Server, a, b net.Conn, config *tls.Config) (*tls.Conn, *Conn) {
	t.Helper()
	if config == nil {
		config = &tls.Config{}
	}
	config.InsecureSkipVerify = true
	if config.ServerName == "" {
		config.ServerName = "a.example"
	}
	client := tls.Client(a, config)
	failed := make(chan error, 1)
	go func() { failed <- client.Handshake() }()
	server, err := s.Handshake(context.Background(), b)
	if cerr := <-failed; err != nil || cerr != nil {
		t.Fatalf("server: %v, client: %v", err, cerr)
	}
	return client, server
}

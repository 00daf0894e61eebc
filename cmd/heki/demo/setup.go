package demo

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"heki/constant"
	"heki/panel/paneltest"
)

const (
	certFile = "cert.pem"
	keyFile  = "key.pem"
)

// writeCertificate writes a self-signed certificate for name, valid for a week, and returns its PEM.
func writeCertificate(dir, name string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(7 * 24 * time.Hour),
		IsCA:         true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(filepath.Join(dir, certFile), cert, 0o600); err != nil {
		return nil, err
	}
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	return cert, os.WriteFile(filepath.Join(dir, keyFile), pemKey, 0o600)
}

// freePorts returns n ports of loopback that nobody listens on now.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// ready waits until every node listens.
func (w *world) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, n := range w.nodes {
		for !listens(ctx, n) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("node %d does not listen on %s: %w", n.ID, address(n), ctx.Err())
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// listens reports whether something serves n: accepts connections, or has the UDP port.
func listens(ctx context.Context, n paneltest.Node) bool {
	if n.Protocol == constant.TypeHysteria2 {
		c, err := net.ListenPacket("udp", address(n))
		if err == nil {
			c.Close()
		}
		return err != nil
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address(n))
	if err == nil {
		c.Close()
	}
	return err == nil
}

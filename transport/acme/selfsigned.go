package acme

import (
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"sync/atomic"
	"time"

	"heki/constant"
	"heki/option"
)

// Life of a self-signed certificate: clients pin it, so it should not change.
const (
	selfLife = 20 * 365 * 24 * time.Hour
	selfLeft = 30 * 24 * time.Hour // a new one is made when less is left
)

// selfSigned is made once for a name and kept.
type selfSigned struct {
	manager    *Manager
	path, name string
	current    atomic.Pointer[tls.Certificate]
}

func selfName(o *option.TLS) string { return cmp.Or(o.ServerName, "localhost") }

func (m *Manager) selfPath(o *option.TLS) string {
	name := selfName(o)
	return filepath.Join(m.cfg.Dir, "self-signed", fileName(name)+"-"+hash(name)+".pem")
}

// Start implements tls.Certificate.
func (s *selfSigned) Start([]net.Addr) error {
	s.manager.making.Lock() // two nodes with one name must not make two
	defer s.manager.making.Unlock()
	if cert, err := readPair(s.path); err == nil && time.Until(cert.Leaf.NotAfter) > selfLeft {
		s.current.Store(cert)
		return nil
	}
	raw, err := makeSelfSigned(s.name, time.Now())
	if err != nil {
		return fmt.Errorf("self-signed certificate: %w", err)
	}
	if err := writePair(s.path, raw); err != nil {
		return fmt.Errorf("keep self-signed certificate: %w", err)
	}
	cert, err := parsePair(raw)
	s.current.Store(cert)
	return err
}

// Stop implements tls.Certificate.
func (s *selfSigned) Stop() {}

// Current implements tls.Certificate.
func (s *selfSigned) Current() *tls.Certificate { return s.current.Load() }

func makeSelfSigned(name string, now time.Time) ([]byte, error) {
	key, err := newKey(constant.KeyEC256)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-24 * time.Hour), // clients' clocks differ
		NotAfter:     now.Add(selfLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	template.DNSNames, template.IPAddresses = identifiers([]string{name})
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	text, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return bundle(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}

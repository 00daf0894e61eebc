package tls

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"heki/option"
)

// checkEvery is how often, at most, a handshake looks whether the certificate files have changed.
const checkEvery = 3 * time.Second

// keyPair is a certificate and its key, from the configuration or from files that are followed: a new
// pair is used within checkEvery, a broken one is reported once and the old one stays.
type keyPair struct {
	cert, key           string // PEM, when there is no path
	certPath, keyPath   string
	ordered             Certificate // instead of all that; nil: there is none
	defaultName         string      // what no name at all stands for
	serverName          string      // counts as known, beside the certificate's names
	rejectUnknown       bool
	report              func(error)
	current             atomic.Pointer[tls.Certificate]
	start               time.Time
	checked             atomic.Int64 // since start, of the last look at the files
	mu                  sync.Mutex   // one look at a time
	certStamp, keyStamp stamp        // of the files as last read, well or badly
}

// stamp tells one state of a file from another. It is zero when the file cannot be seen, which
// reading it will say better.
type stamp struct {
	info fs.FileInfo
}

func stampOf(path string) stamp {
	if path == "" {
		return stamp{}
	}
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info}
}

func (s stamp) same(o stamp) bool {
	if s.info == nil || o.info == nil {
		return s.info == o.info
	}
	return s.info.ModTime().Equal(o.info.ModTime()) && s.info.Size() == o.info.Size() &&
		os.SameFile(s.info, o.info)
}

func newKeyPair(o *option.TLS) (*keyPair, error) {
	k := &keyPair{
		cert:          strings.Join(o.Certificate, "\n"),
		key:           strings.Join(o.Key, "\n"),
		serverName:    o.ServerName,
		rejectUnknown: o.RejectUnknownSNI,
		start:         time.Now(),
	}
	if k.cert == "" {
		k.certPath = o.CertificatePath
	}
	if k.key == "" {
		k.keyPath = o.KeyPath
	}
	switch {
	case k.cert == "" && k.certPath == "":
		return nil, errors.New("certificate or certificate_path is required")
	case k.key == "" && k.keyPath == "":
		return nil, errors.New("key or key_path is required")
	}
	k.certStamp, k.keyStamp = stampOf(k.certPath), stampOf(k.keyPath)
	return k, k.load()
}

func (k *keyPair) load() error {
	cert, err := content(k.cert, k.certPath)
	if err != nil {
		return fmt.Errorf("read certificate: %w", err)
	}
	key, err := content(k.key, k.keyPath)
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("certificate and key: %w", err)
	}
	k.current.Store(&pair)
	return nil
}

func content(pem, path string) ([]byte, error) {
	if path == "" {
		return []byte(pem), nil
	}
	return os.ReadFile(path)
}

// get is tls.Config.GetCertificate. No certificate and no error makes crypto/tls send the alert
// unrecognized_name, like nginx with ssl_reject_handshake.
func (k *keyPair) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if k.certPath != "" || k.keyPath != "" {
		k.follow()
	}
	cert := k.current.Load()
	if k.ordered != nil {
		if cert = k.ordered.Current(); cert == nil {
			return nil, ErrNoCertificate
		}
	}
	if k.rejectUnknown && !k.knows(cert.Leaf, cmp.Or(hello.ServerName, k.defaultName)) {
		return nil, nil
	}
	return cert, nil
}

func (k *keyPair) knows(leaf *x509.Certificate, name string) bool {
	switch {
	case name == "" || leaf == nil:
		return false
	case k.serverName != "" && strings.EqualFold(name, k.serverName):
		return true
	case len(leaf.DNSNames) == 0: // an old self-signed certificate
		return strings.EqualFold(name, leaf.Subject.CommonName)
	}
	return leaf.VerifyHostname(name) == nil
}

// follow looks at the files when it is time and nobody else does.
func (k *keyPair) follow() {
	now := int64(time.Since(k.start))
	if now-k.checked.Load() < int64(checkEvery) || !k.mu.TryLock() {
		return
	}
	defer k.mu.Unlock()
	k.checked.Store(now)
	cert, key := stampOf(k.certPath), stampOf(k.keyPath)
	if cert.same(k.certStamp) && key.same(k.keyStamp) {
		return
	}
	k.certStamp, k.keyStamp = cert, key
	if err := k.load(); err != nil {
		k.tell(fmt.Errorf("the old certificate stays in use: %w", err))
	}
}

func (k *keyPair) tell(err error) {
	if k.report != nil {
		k.report(err)
		return
	}
	slog.Warn("reload certificate", slog.Any("err", err))
}

package tls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
	"unsafe"

	utls "github.com/metacubex/utls"

	"heki/constant"
	"heki/option"
)

// Client shakes hands with one server. Its methods are safe for concurrent use.
//
// It resumes no sessions: TLS 1.3 costs a round trip either way, and a ticket would let whoever
// watches join the connections of different users.
type Client struct {
	config  *tls.Config
	browser *browser // nil: Go's own hello
	timeout time.Duration
}

// NewClient prepares a client of a server, a host or an address. alpn is what the transport needs; see New.
func NewClient(o *option.ClientTLS, server string, alpn []string) (*Client, error) {
	config := &tls.Config{
		NextProtos:                  protocols(o.ALPN, alpn),
		DynamicRecordSizingDisabled: true,
		ServerName:                  o.ServerName,
		InsecureSkipVerify:          o.Insecure, //nolint:gosec // the operator says so
	}
	if config.ServerName == "" {
		config.ServerName = strings.TrimSuffix(server, ".")
	}
	var err error
	if config.MinVersion, err = version("min_version", o.MinVersion); err != nil {
		return nil, err
	}
	if config.MaxVersion, err = version("max_version", o.MaxVersion); err != nil {
		return nil, err
	}
	if config.CipherSuites, err = ciphers(o.CipherSuites); err != nil {
		return nil, err
	}
	if config.CurvePreferences, err = curves(o.CurvePreferences); err != nil {
		return nil, err
	}
	if config.RootCAs, err = roots(o); err != nil {
		return nil, err
	}
	if o.DisableSNI {
		hideName(config)
	}
	c := &Client{config: config, timeout: time.Duration(o.HandshakeTimeout)}
	if c.timeout <= 0 {
		c.timeout = constant.HandshakeTimeout
	}
	if o.UTLS != nil && o.UTLS.Enabled {
		c.browser, err = newBrowser(o.UTLS.Fingerprint, config)
	}
	return c, err
}

// roots returns what the server's certificate must descend from, nil being the system's.
func roots(o *option.ClientTLS) (*x509.CertPool, error) {
	key, pem := "certificate", []byte(strings.Join(o.Certificate, "\n"))
	if o.CertificatePath != "" {
		var err error
		key = "certificate_path"
		if pem, err = os.ReadFile(o.CertificatePath); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	} else if len(pem) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: holds no certificate in PEM", key)
	}
	return pool, nil
}

// hideName takes the name out of what is sent, and checks it afterwards.
func hideName(config *tls.Config) {
	name, pool := config.ServerName, config.RootCAs
	check := !config.InsecureSkipVerify
	config.ServerName, config.InsecureSkipVerify = "", true //nolint:gosec // checked below
	if !check {
		return
	}
	config.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error { //nolint:gosec // nothing is resumed, which would pass it by
		options := x509.VerifyOptions{DNSName: name, Roots: pool, Intermediates: x509.NewCertPool()}
		var leaf *x509.Certificate
		for i, der := range raw {
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				return err
			}
			if i == 0 {
				leaf = cert
			} else {
				options.Intermediates.AddCert(cert)
			}
		}
		if leaf == nil {
			return errors.New("no certificate")
		}
		_, err := leaf.Verify(options)
		return err
	}
}

// Handshake greets the server on conn, which it owns and closes when it fails. It ends with the timeout
// of the options or with ctx, whichever is first.
func (c *Client) Handshake(ctx context.Context, conn net.Conn) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	l := &lower{Conn: conn, begun: true}
	var done *Conn
	err := apart(func() error {
		if c.browser != nil {
			u, err := c.browser.handshake(ctx, l)
			if err != nil {
				return err
			}
			done = FromUTLS(u)
			return nil
		}
		t := tls.Client(l, c.config)
		if err := t.HandshakeContext(ctx); err != nil {
			return err
		}
		done = newConn(t, l, connLayout.of(unsafe.Pointer(t)))
		return nil
	})
	if err == nil {
		return done, nil
	}
	_ = conn.Close()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return nil, fmt.Errorf("tls handshake: %w", err)
}

// apart runs a handshake in a goroutine of its own: it grows the stack to 16 KiB, and the caller's
// lives as long as the connection.
func apart(handshake func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil { // the caller's recover does not reach here
				done <- fmt.Errorf("panic: %v", p)
			}
		}()
		done <- handshake()
	}()
	return <-done
}

// browser makes hellos of a browser.
type browser struct {
	config *utls.Config
	id     utls.ClientHelloID
}

// newBrowser imitates by one of option's fingerprints, which says versions, ciphers and curves itself.
func newBrowser(fingerprint string, c *tls.Config) (*browser, error) {
	id, err := helloID(fingerprint)
	if err != nil {
		return nil, err
	}
	return &browser{id: id, config: &utls.Config{
		NextProtos:            c.NextProtos,
		ServerName:            c.ServerName,
		InsecureSkipVerify:    c.InsecureSkipVerify, //nolint:gosec // the operator says so, or VerifyPeerCertificate checks
		VerifyPeerCertificate: c.VerifyPeerCertificate,
		RootCAs:               c.RootCAs,
	}}, nil
}

// browsers are the newest of each that the library knows, in the order that random picks from.
var browsers = []struct {
	name string
	id   utls.ClientHelloID
}{
	{"chrome", utls.HelloChrome_Auto},
	{"firefox", utls.HelloFirefox_Auto},
	{"edge", utls.HelloEdge_Auto},
	{"safari", utls.HelloSafari_Auto},
	{"ios", utls.HelloIOS_Auto},
	{"android", utls.HelloAndroid_11_OkHttp},
	{"360", utls.Hello360_Auto},
	{"qq", utls.HelloQQ_Auto},
}

// modern is how many of browsers speak TLS 1.3.
const modern = 5

// helloID finds a fingerprint. The random ones are drawn once, as a user's browser stays the same.
func helloID(fingerprint string) (utls.ClientHelloID, error) {
	switch fingerprint {
	case "", option.DefaultFingerprint:
		return utls.HelloChrome_Auto, nil
	case "random":
		return browsers[time.Now().UnixNano()%modern].id, nil
	case "randomized":
		return randomHello()
	}
	for _, b := range browsers {
		if b.name == fingerprint {
			return b.id, nil
		}
	}
	return utls.ClientHelloID{}, fmt.Errorf("utls: fingerprint %q is unknown", fingerprint)
}

// randomHello makes a hello up. The library draws the groups that it names and those that it has a key for
// apart: of X25519MLKEM768 both are there or none, since the library cannot add the key when a server asks
// for it, as those of Go do. Every browser names protocols.
func randomHello() (utls.ClientHelloID, error) {
	seed, err := utls.NewPRNGSeed()
	if err != nil {
		return utls.ClientHelloID{}, fmt.Errorf("utls: %w", err)
	}
	postQuantum := float64(seed[0] & 1)
	weights := utls.DefaultWeights
	weights.TLSVersMax_Set_VersionTLS13 = 1
	weights.FirstKeyShare_Set_CurveP256 = 0
	weights.CurveIDs_Append_X25519 = postQuantum
	weights.KeyShare_Append_RandomGroups = postQuantum
	id := utls.HelloRandomizedALPN
	id.Seed, id.Weights = seed, &weights
	return id, nil
}

// handshake greets as the browser, but for the protocols that a transport needs.
func (b *browser) handshake(ctx context.Context, l *lower) (*utls.Conn, error) {
	c := utls.UClient(l, b.config.Clone(), b.id)
	if b.config.ServerName == "" {
		_ = c.RemoveSNIExtension() // fails for Go's own hello only
	}
	if len(b.config.NextProtos) > 0 {
		if err := c.BuildHandshakeState(); err != nil {
			return nil, err
		}
		for _, e := range c.Extensions {
			if alpn, ok := e.(*utls.ALPNExtension); ok {
				alpn.AlpnProtocols = b.config.NextProtos
			}
		}
		if err := c.BuildHandshakeState(); err != nil {
			return nil, err
		}
	}
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return c.Conn, nil
}

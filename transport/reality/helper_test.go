package reality

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	utls "github.com/metacubex/utls"
	"go.uber.org/goleak"

	"heki/internal/netio"
	"heki/option"
	"heki/transport/tls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	serverName = "example.com" // in httptest's certificate
	page       = "the target's page"
)

// newTarget is a site with TLS 1.3 and HTTP/2.
func newTarget(t testing.TB, change func(*httptest.Server)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, page)
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // probers leave in the middle
	if change != nil {
		change(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

var testKey = bytes.Repeat([]byte{7}, option.RealityKeySize)

// newOptions has the target at address and two short ids.
func newOptions(t testing.TB, address string) *option.TLS {
	t.Helper()
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return &option.TLS{Enabled: true, Reality: &option.Reality{
		Enabled:     true,
		Handshake:   option.RealityTarget{Server: host, ServerPort: uint16(port)},
		PrivateKey:  base64.RawURLEncoding.EncodeToString(testKey),
		ShortID:     option.Listable[string]{"0123456789abcdef", ""},
		ServerNames: option.Listable[string]{serverName, "www.example.com"},
	}}
}

// host is a server that listens. Who has authenticated gets back what it sends.
type host struct {
	*Server
	addr    string
	results chan error // of each Handshake

	mu       sync.Mutex
	reported []error
}

func start(t testing.TB, o *option.TLS) *host {
	t.Helper()
	return startAt(t, o, time.Now)
}

func startAt(t testing.TB, o *option.TLS, now func() time.Time) *host {
	t.Helper()
	h := &host{results: make(chan error, 5000)}
	var err error
	h.Server, err = New(o, now, func(err error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.reported = append(h.reported, err)
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				c, err := h.Handshake(ctx, conn)
				h.results <- err
				if err == nil {
					stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
					defer stop()
					echo(c)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		cancel()
		wg.Wait()
		if n, m := h.handshakes.len(), h.relays.len(); n+m > 0 {
			t.Errorf("%d handshakes and %d relays are left", n, m)
		}
	})
	return h
}

func echo(c *tls.Conn) {
	defer c.Close()
	for {
		b, err := c.WaitReadBuffer()
		if err == io.EOF {
			_ = c.CloseWrite()
			return
		}
		if err != nil {
			return
		}
		_, err = c.Write(b.Bytes())
		netio.Put(b)
		if err != nil {
			return
		}
	}
}

// user is a client and what it says; the zero value of a field is what the server expects.
type user struct {
	name    string
	shortID [8]byte
	version [3]byte
	key     []byte // the server's private one
	at      time.Time
	id      utls.ClientHelloID
	without utls.CurveID // a key share that is not sent
}

// Errors of a user.
var (
	errRealCertificate = errors.New("the certificate is not REALITY's")
	errNoKey           = errors.New("the ClientHello has no X25519 key")
)

// dial shakes hands as a user on conn, which it closes when it fails.
func (u user) dial(conn net.Conn) (*utls.UConn, error) {
	if u.name == "" {
		u.name = serverName
	}
	if u.key == nil {
		u.key = testKey
	}
	if u.version == [3]byte{} {
		u.version = [3]byte{1, 8, 1}
	}
	if u.at.IsZero() {
		u.at = time.Now()
	}
	if u.id == (utls.ClientHelloID{}) {
		u.id = utls.HelloChrome_Auto
	}
	var authKey []byte
	config := &utls.Config{ServerName: u.name, InsecureSkipVerify: true}
	config.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
		leaf, err := x509.ParseCertificate(raw[0])
		if err != nil {
			return err
		}
		public, ok := leaf.PublicKey.(ed25519.PublicKey)
		mac := hmac.New(sha512.New, authKey)
		_, _ = mac.Write(public)
		if !ok || !bytes.Equal(mac.Sum(nil), leaf.Signature) {
			return errRealCertificate
		}
		return nil
	}
	c := utls.UClient(conn, config, u.id)
	var err error
	if authKey, err = u.sign(c); err == nil {
		err = c.Handshake()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// sign puts the authentication into c's ClientHello.
func (u user) sign(c *utls.UConn) ([]byte, error) {
	if err := c.BuildHandshakeState(); err != nil {
		return nil, err
	}
	for _, e := range c.Extensions {
		switch e := e.(type) {
		case *utls.SupportedCurvesExtension:
			e.Curves = slices.DeleteFunc(e.Curves, func(id utls.CurveID) bool { return id == u.without })
		case *utls.KeyShareExtension:
			e.KeyShares = slices.DeleteFunc(e.KeyShares, func(s utls.KeyShare) bool { return s.Group == u.without })
		}
	}
	if err := c.BuildHandshakeState(); err != nil {
		return nil, err
	}
	hello := c.HandshakeState.Hello
	hello.SessionId = make([]byte, sessionIDSize)
	copy(hello.Raw[sessionIDOffset:], hello.SessionId)
	copy(hello.SessionId, u.version[:])
	binary.BigEndian.PutUint32(hello.SessionId[4:], uint32(u.at.Unix()))
	copy(hello.SessionId[8:], u.shortID[:])
	server, err := ecdh.X25519().NewPrivateKey(u.key)
	if err != nil {
		return nil, err
	}
	keys := c.HandshakeState.State13.KeyShareKeys
	own := keys.Ecdhe
	if u.without == utls.X25519 {
		own = keys.MlkemEcdhe
	}
	if own == nil {
		return nil, errNoKey
	}
	secret, err := own.ECDH(server.PublicKey())
	if err != nil {
		return nil, err
	}
	authKey, err := hkdf.Key(sha256.New, secret, hello.Random[:20], "REALITY", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(authKey)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	aead.Seal(hello.SessionId[:0], hello.Random[20:], hello.SessionId[:16], hello.Raw)
	copy(hello.Raw[sessionIDOffset:], hello.SessionId)
	return authKey, nil
}

// connect dials h as u.
func (h *host) connect(t testing.TB, u user) (*utls.UConn, error) {
	t.Helper()
	return u.dial(h.raw(t))
}

// raw dials h; the connection ends with the test.
func (h *host) raw(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return conn
}

// helloOf is a user's ClientHello, in its record.
func helloOf(t testing.TB, u user) []byte {
	t.Helper()
	a, b := net.Pipe()
	go func() { _, _ = u.dial(a) }()
	head := make([]byte, recordHeader)
	if _, err := io.ReadFull(b, head); err != nil {
		t.Fatal(err)
	}
	hello := append(head, make([]byte, binary.BigEndian.Uint16(head[3:]))...)
	if _, err := io.ReadFull(b, hello[recordHeader:]); err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
	return hello
}

package vless

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"testing"
	"time"

	M "github.com/sagernet/sing/common/metadata"

	"heki/adapter"
	"heki/inbound/inboundtest"
	"heki/internal/protocol/vision"
	"heki/internal/protocol/vless"
	"heki/option"
)

// certificate makes a self-signed pair, as PEM and for crypto/tls.
func certificate(t testing.TB) (o option.TLS, pair tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"heki.test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	o = option.TLS{Enabled: true, Certificate: option.Listable[string]{cert}, Key: option.Listable[string]{private}}
	return o, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// exact hands out no more than the current record, so that nothing is read ahead of the switch.
type exact struct {
	inboundtest.Conn
	head []byte
	left int
	off  bool
}

func (e *exact) Read(p []byte) (int, error) {
	if e.off {
		return e.Conn.Read(p)
	}
	if e.left > 0 {
		n, err := e.Conn.Read(p[:min(len(p), e.left)])
		e.left -= n
		return n, err
	}
	n, err := e.Conn.Read(p[:min(len(p), 5-len(e.head))])
	e.head = append(e.head, p[:n]...)
	if len(e.head) == 5 {
		e.left, e.head = int(binary.BigEndian.Uint16(e.head[3:])), e.head[:0]
	}
	return n, err
}

// client is a VLESS client with Vision over TLS.
type client struct {
	inboundtest.Conn // the socket
	tls              *tls.Conn
	below            *exact
	request          []byte // not sent yet
	uuid             []byte // not sent yet
	cut              int    // the first record ends here; 0: with the block
	user             vless.UUID

	answer   int // bytes of the response header that were read
	started  bool
	unpadder vision.Unpadder
	unread   []byte
	directUp bool
}

// dialVision does not use the network before the first write.
func dialVision(a adapter.Account, dst M.Socksaddr, conn inboundtest.Conn) *client {
	below := &exact{Conn: conn}
	return &client{
		Conn: conn, below: below, user: a.UUID, uuid: a.UUID[:],
		tls:     tls.Client(below, &tls.Config{InsecureSkipVerify: true}),
		request: vless.AppendRequest(nil, vless.Request{UUID: a.UUID, Flow: vless.FlowVision, Command: vless.CommandTCP, Destination: dst}),
	}
}

func (c *client) Write(p []byte) (int, error) {
	if c.directUp {
		return c.Conn.Write(p)
	}
	for rest := p; len(rest) > 0; {
		n := min(len(rest), 5000)
		if err := c.block(vision.CommandContinue, rest[:n]); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

func (c *client) block(command vision.Command, content []byte) error {
	b := vision.AppendBlock(c.request, c.uuid, command, content, mrand.IntN(1000))
	c.request, c.uuid = nil, nil
	cut := c.cut
	c.cut = 0
	if cut > 0 {
		if _, err := c.tls.Write(b[:cut]); err != nil {
			return err
		}
	}
	_, err := c.tls.Write(b[cut:])
	return err
}

// leave ends TLS for writing.
func (c *client) leave() error {
	err := c.block(vision.CommandDirect, nil)
	c.directUp = true
	return err
}

func (c *client) Read(p []byte) (int, error) {
	for len(c.unread) == 0 {
		if c.unpadder.Mode() == vision.ModeDirect {
			c.below.off = true
			return c.Conn.Read(p)
		}
		b := make([]byte, 32<<10)
		n, err := c.tls.Read(b)
		if err != nil {
			return 0, err
		}
		if err := c.take(b[:n]); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

// take looks at what came in one record.
func (c *client) take(b []byte) error {
	n := min(2-c.answer, len(b))
	c.answer += n
	b = b[n:]
	if len(b) == 0 {
		return nil
	}
	if !c.started {
		n, err := c.unpadder.Start(b, c.user)
		if err != nil || n == 0 {
			return errors.Join(errors.New("no uuid in front"), err)
		}
		c.started, b = true, b[n:]
	}
	n, err := c.unpadder.Unpad(b)
	c.unread = b[:n]
	return err
}

// CloseWrite ends the upload, inside TLS or without it.
func (c *client) CloseWrite() error {
	if c.directUp {
		return c.Conn.CloseWrite()
	}
	return c.tls.CloseWrite()
}

var (
	_ inboundtest.Conn = (*client)(nil)
	_ net.Conn         = (*client)(nil)
	_ io.Reader        = (*exact)(nil)
)

package shadowsocks

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"testing"
	"time"

	M "github.com/sagernet/sing/common/metadata"
	"go.uber.org/goleak"

	"heki/adapter"
	"heki/constant"
	"heki/inbound"
	"heki/inbound/inboundtest"
	"heki/internal/netio"
	"heki/internal/protocol/shadowsocks"
	"heki/internal/protocol/ss2022"
	"heki/option"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var someTime = time.Unix(1_700_000_000, 0)

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// key is a key of Shadowsocks 2022 that is the same again for the same number.
func key(m ss2022.Method, i int) []byte {
	b := make([]byte, m.KeySize())
	copy(b, fmt.Sprint("key ", i))
	return b
}

func text(key []byte) string { return base64.StdEncoding.EncodeToString(key) }

// serverKey is the number of the server's key.
const serverKey = 1000

// client is how a test's client speaks: one of the methods.
type client struct {
	classic shadowsocks.Method
	modern  ss2022.Method
	single  bool // 2022: one user, whose key is the server's
	at      time.Time
}

func (c client) account(i int) adapter.Account {
	a := adapter.Account{ID: int64(i + 1), Name: fmt.Sprint("user", i), Password: fmt.Sprint("password ", i)}
	if c.modern > 0 {
		a.Password = text(c.key(i))
	}
	return a
}

func (c client) key(i int) []byte {
	if c.single && i == 0 {
		i = serverKey
	}
	return key(c.modern, i)
}

// number is the user of account.
func number(a adapter.Account) int { return int(a.ID - 1) }

func (c client) options(s option.Stream) *option.Shadowsocks {
	o := &option.Shadowsocks{Stream: s}
	if c.modern > 0 {
		o.Method, o.Password = c.modern.String(), text(key(c.modern, serverKey))
		return o
	}
	o.Method = c.classic.String()
	return o
}

// named says that clients name themselves.
func (c client) named() bool { return !c.single && c.modern.MultiUser() }

// chain is the keys of a user, after the server's where clients name themselves with it.
func (c client) chain(user int) *ss2022.Chain {
	if c.named() {
		return ss2022.NewChain(c.modern, key(c.modern, serverKey), c.key(user))
	}
	return ss2022.NewChain(c.modern, c.key(user))
}

func (c client) unix() int64 {
	if c.at.IsZero() {
		return time.Now().Unix()
	}
	return c.at.Unix()
}

// conn is the client's end on conn.
func (c client) conn(a adapter.Account, dst M.Socksaddr, conn net.Conn) *shadowsocks.Conn {
	if c.modern > 0 {
		return ss2022.NewClientConn(netio.NewConn(conn), c.chain(number(a)), random(c.modern.KeySize()), dst, 7, c.unix, nil)
	}
	return shadowsocks.NewClientConn(netio.NewConn(conn), c.classic, shadowsocks.NewKey(c.classic, a.Password), random(c.classic.KeySize()), dst, nil)
}

// request is a first flight with payload.
func (c client) request(a adapter.Account, dst M.Socksaddr, payload []byte) []byte {
	rec := new(recorder)
	_, _ = c.conn(a, dst, rec).Write(payload)
	return rec.b
}

// recorder keeps what is written.
type recorder struct {
	net.Conn
	b []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.b = append(r.b, p...)
	return len(p), nil
}

func (c client) header(a adapter.Account, dst net.Addr) []byte {
	return c.request(a, M.SocksaddrFromNet(dst), nil)
}

// stream is the client's end over conn.
func (c client) stream(a adapter.Account, dst net.Addr, conn inboundtest.Conn) inboundtest.Conn {
	return c.conn(a, M.SocksaddrFromNet(dst), conn)
}

// protocol is for the conformance suite.
func (c client) protocol() inboundtest.Protocol {
	p := inboundtest.Protocol{
		Type:     constant.TypeShadowsocks,
		Register: func(r *inbound.Registry) { Register(r, NewMemory()) },
		Options:  func(s option.Stream) option.InboundOptions { return c.options(s) },
		Account:  c.account,
		Header:   c.header,
		Stream:   c.stream,
	}
	if c.modern > 0 {
		p.FirstRead = c.modern.RequestSize(c.named())
	}
	if !c.at.IsZero() {
		p.Now = func() time.Time { return c.at }
	}
	return p
}

func TestConformance(t *testing.T) {
	t.Run("aead", func(t *testing.T) { inboundtest.Run(t, client{classic: shadowsocks.AES128GCM}.protocol()) })
	t.Run("2022", func(t *testing.T) { inboundtest.Run(t, client{modern: ss2022.AES256GCM}.protocol()) })
	for _, c := range []client{
		{classic: shadowsocks.AES192GCM},
		{classic: shadowsocks.AES256GCM},
		{classic: shadowsocks.ChaCha20Poly1305},
		{classic: shadowsocks.XChaCha20Poly1305},
		{modern: ss2022.AES128GCM},
	} {
		name := c.classic.String()
		if c.modern > 0 {
			name = c.modern.String()
		}
		t.Run(name, func(t *testing.T) { inboundtest.RunBody(t, c.protocol()) })
	}
}

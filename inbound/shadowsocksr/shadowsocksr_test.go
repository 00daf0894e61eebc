package shadowsocksr

import (
	"crypto/rand"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	M "github.com/sagernet/sing/common/metadata"
	"go.uber.org/goleak"

	"heki/adapter"
	"heki/constant"
	"heki/inbound"
	"heki/inbound/inboundtest"
	"heki/internal/netio"
	"heki/internal/protocol/ssr"
	"heki/internal/protocol/wire/wiretest"
	"heki/option"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// own are the users' own columns, of which their hosts are made.
var own = adapter.SSR{Method: "aes-256-cfb", Protocol: "origin", Obfs: "plain"}

func account(i int) adapter.Account {
	return adapter.Account{ID: int64(i + 1), Name: strconv.Itoa(i), Password: "password " + strconv.Itoa(i), SSR: own}
}

// numbers are of connections: no two clients of a test say the same.
var numbers atomic.Uint32

// client is how a test's clients speak to a port.
type client struct {
	option.SSRPort
	codec *ssr.Port
	id    uint32 // client id; 0: by user
}

func newClient(t testing.TB, p option.SSRPort) client {
	t.Helper()
	codec, err := ssr.NewPort(ssr.Config{Method: p.Method, Password: p.Password, Protocol: p.Protocol, Obfs: p.Obfs})
	if err != nil {
		t.Fatal(err)
	}
	return client{SSRPort: p, codec: codec}
}

func seed() (s [32]byte) {
	_, _ = rand.Read(s[:])
	return s
}

// identity is what account a sends of itself.
func (c client) identity(a adapter.Account) ssr.Identity {
	id := ssr.Identity{UID: uint32(a.ID), ClientID: c.id, ConnID: numbers.Add(1), Port: 8388, Session: [32]byte{1}, Host: "www.example.com"}
	if id.ClientID == 0 {
		id.ClientID = uint32(a.ID)
	}
	if c.Mode != option.SSRSingleUser {
		id.Key = c.codec.UserKey(a.Password)
	}
	if c.Mode == option.SSRObfs {
		id.Host = ssr.UserHost(ssr.DefaultHostPattern, ssr.DefaultHostSuffix, ssr.HostOwner{
			ID: a.ID, Password: a.Password, Method: a.SSR.Method, Obfs: a.SSR.Obfs, Protocol: a.SSR.Protocol,
		})
	}
	return id
}

// stream is a client's end on conn. Its first write is short: the suite cuts that at every byte, all at
// once, and padding takes up to 1 KiB.
func (c client) stream(a adapter.Account, dst net.Addr, conn net.Conn) *ssr.Conn {
	id, s := c.identity(a), seed()
	for range 50 {
		if n := len(c.first(id, dst, s)); n > 0 && n < 250 {
			break
		}
		s = seed()
	}
	return c.codec.Client(netio.NewConn(conn), id, M.SocksaddrFromNet(dst), time.Now(), s, netio.Pool{})
}

// header is all of a client's first write.
func (c client) header(a adapter.Account, dst net.Addr) []byte {
	return c.first(c.identity(a), dst, seed())
}

func (c client) first(id ssr.Identity, dst net.Addr, s [32]byte) []byte {
	fake := wiretest.New(strings.NewReader(""))
	stream := c.codec.Client(fake, id, M.SocksaddrFromNet(dst), time.Now(), s, nil)
	_, _ = stream.Write(nil)
	return []byte(strings.Join(fake.Writes(), ""))
}

// protocol is for the conformance suite.
func (c client) protocol() inboundtest.Protocol {
	return inboundtest.Protocol{
		Type:     constant.TypeShadowsocksR,
		Register: func(r *inbound.Registry) { Register(r, NewMemory()) },
		Options: func(s option.Stream) option.InboundOptions {
			return &option.ShadowsocksR{Stream: s, SSRPort: c.SSRPort, SSRSharing: option.SSRSharing{MuRegex: ssr.DefaultHostPattern, MuSuffix: ssr.DefaultHostSuffix}}
		},
		Account: account,
		Header:  c.header,
		Stream: func(a adapter.Account, dst net.Addr, conn inboundtest.Conn) inboundtest.Conn {
			return c.stream(a, dst, conn)
		},
	}
}

func shared(method, protocol, obfs, mode string) option.SSRPort {
	return option.SSRPort{Method: method, Password: "port password", Protocol: protocol, Obfs: obfs, Mode: mode}
}

func TestConformance(t *testing.T) {
	inboundtest.Run(t, newClient(t, shared("aes-256-cfb", "auth_chain_a", "plain", option.SSRProtocol)).protocol())
}

func TestConformanceOfBodies(t *testing.T) {
	for _, p := range []option.SSRPort{
		shared("none", "auth_aes128_md5", "plain", option.SSRProtocol),
		shared("chacha20", "auth_aes128_sha1", "tls1.2_ticket_auth", option.SSRProtocol),
		shared("rc4-md5", "auth_chain_f", "http_simple", option.SSRProtocol),
		shared("aes-128-gcm", "origin", "simple_obfs_http", option.SSRObfs),
		shared("chacha20-ietf-poly1305", "origin", "simple_obfs_tls", option.SSRObfs),
		shared("salsa20", "origin", "tls1.2_ticket_auth", option.SSRObfs),
		shared("aes-192-ctr", "auth_chain_c", "http_post", option.SSRObfs),
	} {
		t.Run(p.Method+" "+p.Protocol+" "+p.Obfs+" "+p.Mode, func(t *testing.T) {
			inboundtest.RunBody(t, newClient(t, p).protocol())
		})
	}
}

// echo answers with what it reads.
func echo(t testing.TB) net.Addr {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr()
}

// served says whether a client gets its answer.
func served(t testing.TB, addr net.Addr, c client, a adapter.Account, dst net.Addr) bool {
	t.Helper()
	conn := open(t, addr, c, a, dst)
	if conn == nil {
		return false
	}
	_ = conn.Close()
	return true
}

// open opens a stream that was answered, or returns nil.
func open(t testing.TB, addr net.Addr, c client, a adapter.Account, dst net.Addr) *ssr.Conn {
	t.Helper()
	raw, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	_ = raw.SetDeadline(time.Now().Add(time.Minute))
	s := c.stream(a, dst, raw)
	if _, err := s.Write([]byte("hello")); err != nil {
		return nil
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(s, got); err != nil || string(got) != "hello" {
		return nil
	}
	return s
}

// replay sends raw bytes and says whether there was any answer.
func replay(t testing.TB, addr net.Addr, raw []byte) bool {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, _ = c.Write(raw)
	n, _ := c.Read(make([]byte, 1))
	return n > 0
}

// random never fails.
type random struct{}

func (random) Read(p []byte) (int, error) { return rand.Read(p) }

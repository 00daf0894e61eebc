package shadowsocks

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	"go.uber.org/goleak"

	"heki/adapter"
	"heki/internal/netio"
	"heki/internal/protocol/address"
	"heki/internal/protocol/shadowsocks"
	"heki/internal/protocol/ss2022"
	"heki/internal/protocol/wire"
	"heki/option"
	"heki/outbound/internal/outboundtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// someTime is what the panels' clock says.
var someTime = time.Unix(1_700_000_000, 0)

func unix() int64 { return someTime.Unix() }

func newOutbound(t testing.TB, o option.ShadowsocksOutbound) adapter.Outbound {
	t.Helper()
	if err := o.Validate("x"); err != nil {
		t.Fatal(err)
	}
	env := outboundtest.Env(nil)
	env.Now = func() time.Time { return someTime }
	out, err := New(env, "out", &o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// methods are all, with a user's password or keys.
func methods() map[string]string {
	all := make(map[string]string)
	for _, m := range option.ShadowsocksMethods() {
		all[m] = "password"
		if n := option.ShadowsocksKeySize(m); n > 0 {
			all[m] = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, n))
			if option.ShadowsocksNames(m) {
				all[m] = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{5}, n)) + ":" + all[m]
			}
		}
	}
	return all
}

// accept does what a server does with a stream.
func accept(t testing.TB, c *netio.Conn, method string) (*shadowsocks.Conn, M.Socksaddr, error) {
	if m, ok := ss2022.ParseMethod(method); ok {
		key := bytes.Repeat([]byte{7}, m.KeySize())
		r, err := wire.ReadHeader(c, func(b []byte) (*ss2022.Request, int, error) {
			if len(b) < m.RequestSize(m.MultiUser()) {
				return nil, 0, wire.ErrShort
			}
			if m.MultiUser() && ss2022.Identify(m, bytes.Repeat([]byte{5}, m.KeySize()), b) != ss2022.HashOf(key) {
				t.Errorf("%s: another user's name", method)
			}
			return ss2022.OpenRequest(m, key, b, m.MultiUser())
		})
		if err != nil {
			return nil, M.Socksaddr{}, err
		}
		s := ss2022.NewServerConn(c, m, key, r, random(m.KeySize()), unix, nil)
		dst, err := ss2022.ReadVariable(s)
		return s, dst, err
	}
	m, _ := shadowsocks.ParseMethod(method)
	k, trial := shadowsocks.NewKey(m, "password"), shadowsocks.NewTrial(m)
	head, err := c.Peek(m.StreamHead())
	if err != nil {
		return nil, M.Socksaddr{}, err
	}
	trial.BeginStream(head)
	aead, _, ok := trial.Try(k)
	if !ok {
		return nil, M.Socksaddr{}, errors.New("another password")
	}
	if _, err := c.Discard(m.KeySize()); err != nil {
		return nil, M.Socksaddr{}, err
	}
	s := shadowsocks.NewServerConn(c, m, k, aead, random(m.KeySize()), nil)
	b, err := s.Reader().WaitChunk()
	if err != nil {
		return nil, M.Socksaddr{}, err
	}
	dst, n, err := address.ParseS(b.Bytes(), "")
	b.Advance(n)
	s.Reader().Unread(b)
	return s, dst, err
}

func TestStream(t *testing.T) {
	for method, password := range methods() {
		t.Run(method, func(t *testing.T) {
			at := outboundtest.Serve(t, func(c *netio.Conn) error {
				s, dst, err := accept(t, c, method)
				if err != nil || dst.String() != "example.com:80" {
					t.Errorf("destination %s, %v", dst, err)
					return nil
				}
				b, err := io.ReadAll(s)
				if err != nil {
					return err
				}
				if _, err := s.Write(b); err != nil {
					return err
				}
				_ = s.CloseWrite() // the client may have all and be gone
				return nil
			})
			c := outboundtest.Dial(t, newOutbound(t, option.ShadowsocksOutbound{Remote: at, Method: method, Password: password}), "example.com:80")
			long := strings.Repeat("long", 20_000)
			for _, part := range []string{long, " and", " more"} {
				if _, err := io.WriteString(c, part); err != nil {
					t.Fatal(err)
				}
			}
			if err := netio.CloseWrite(c); err != nil {
				t.Fatal(err)
			}
			outboundtest.Says(t, c, long+" and more")
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("end: %v", err)
			}
		})
	}
}

func TestServerThatSpeaksFirst(t *testing.T) {
	for method, password := range methods() {
		at := outboundtest.Serve(t, func(c *netio.Conn) error {
			s, _, err := accept(t, c, method)
			if err != nil {
				return err
			}
			_, err = io.WriteString(s, "220 mail.example")
			return err
		})
		c := outboundtest.Dial(t, newOutbound(t, option.ShadowsocksOutbound{Remote: at, Method: method, Password: password}), "mail.example:25")
		outboundtest.Says(t, c, "220 mail.example")
	}
}

// udpServer is a server of datagrams, driven by hand.
type udpServer struct {
	*net.UDPConn
	method string
	answer *ss2022.Sealer // of the server's session; nil before the first datagram
}

func newUDPServer(t testing.TB, method string) (*udpServer, option.Remote) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(outboundtest.Patience))
	return &udpServer{UDPConn: c, method: method}, option.Remote{Server: "127.0.0.1", ServerPort: uint16(c.LocalAddr().(*net.UDPAddr).Port)}
}

// read opens the next datagram.
func (s *udpServer) read(t testing.TB) (client net.Addr, session uint64, dst M.Socksaddr, payload string) {
	t.Helper()
	b := make([]byte, 1<<16)
	n, client, err := s.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := ss2022.ParseMethod(s.method); ok {
		server, key := bytes.Repeat([]byte{5}, m.KeySize()), bytes.Repeat([]byte{7}, m.KeySize())
		if !m.MultiUser() {
			server = key
		}
		k := ss2022.NewPacketKey(m, server, m.MultiUser())
		var p ss2022.Packet
		if err := p.OpenHeader(k, b[:n]); err != nil {
			t.Fatal(err)
		}
		plain, err := p.Open(k.SessionCipher(key, p.Session))
		if err != nil {
			t.Fatal(err)
		}
		body, at, err := ss2022.ParseBody(plain, false, "")
		if err != nil || body.Unix != unix() {
			t.Fatalf("%+v, %v", body, err)
		}
		short := len(plain)-at < ss2022.MaxPadding
		if padded := at > 11+address.Size(body.Address); padded != (short && body.Address.Port == dnsPort) {
			t.Errorf("%d bytes for %s are padded: %v", len(plain)-at, body.Address, padded)
		}
		return client, p.Session, body.Address, string(plain[at:])
	}
	m, _ := shadowsocks.ParseMethod(s.method)
	plain, err := shadowsocks.NewTrial(m).OpenPacket(b[:n], shadowsocks.NewKey(m, "password"))
	if err != nil {
		t.Fatal(err)
	}
	dst, at, err := shadowsocks.ParsePacket(plain, "")
	if err != nil {
		t.Fatal(err)
	}
	return client, 0, dst, string(plain[at:])
}

// seal is a datagram from that address to the client's session; own is the server's session.
func (s *udpServer) seal(own, session uint64, from M.Socksaddr, payload string, at int64) []byte {
	b := buf.As([]byte(payload))
	if m, ok := ss2022.ParseMethod(s.method); ok {
		if s.answer == nil {
			s.answer = ss2022.NewSealer(m, bytes.Repeat([]byte{7}, m.KeySize()), own, session, source{})
		}
		return bytes.Clone(s.answer.Seal(b, from, at, 0).Bytes())
	}
	m, _ := shadowsocks.ParseMethod(s.method)
	return bytes.Clone(shadowsocks.NewTrial(m).SealPacket(b, shadowsocks.NewKey(m, "password"), from, random(m.KeySize())).Bytes())
}

// source reads random bytes.
type source struct{}

func (source) Read(p []byte) (int, error) { return copy(p, random(len(p))), nil }

// Packets go anywhere through one socket, and answers come from anywhere: full cone.
func TestPackets(t *testing.T) {
	for method, password := range methods() {
		t.Run(method, func(t *testing.T) {
			s, at := newUDPServer(t, method)
			c := outboundtest.Packets(t, newOutbound(t, option.ShadowsocksOutbound{Remote: at, Method: method, Password: password}), "192.0.2.1:53")
			var first net.Addr
			for i, dst := range []string{"192.0.2.1:53", "dns.example:53", "[2001:db8::1]:443", "192.0.2.1:53"} {
				text := strings.Repeat("x", 1+i*400)
				want := outboundtest.Sends(t, c, dst, text)
				client, session, got, payload := s.read(t)
				if got != want || payload != text {
					t.Fatalf("%q for %s, want %q for %s", payload, got, text, want)
				}
				if first == nil {
					first = client
				} else if client.String() != first.String() {
					t.Errorf("from %s, and from %s", first, client)
				}
				stranger := M.ParseSocksaddr("198.51.100.9:9")
				for n, from := range []M.Socksaddr{want, stranger} {
					if _, err := s.WriteTo(s.seal(1, session, from, "answer"+strings.Repeat("y", n), unix()), client); err != nil {
						t.Fatal(err)
					}
				}
				for n, from := range []M.Socksaddr{want, stranger} {
					receive(t, c.(*packetConn), n == 0, from, "answer"+strings.Repeat("y", n))
				}
			}
		})
	}
}

func receive(t testing.TB, c *packetConn, waits bool, from M.Socksaddr, text string) {
	t.Helper()
	b := buf.NewSize(1 << 16)
	var got M.Socksaddr
	var err error
	if waits {
		b.Release()
		b, got, err = c.WaitReadPacket()
	} else {
		got, err = c.ReadPacket(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer netio.Put(b)
	if got != from || string(b.Bytes()) != text {
		t.Errorf("%q from %s, want %q from %s", b.Bytes(), got, text, from)
	}
}

// What is no answer to the session, or an old one, or came before, is lost; a restarted server is not.
func TestBadAnswers(t *testing.T) {
	for method, password := range methods() {
		m, modern := ss2022.ParseMethod(method)
		s, at := newUDPServer(t, method)
		c := outboundtest.Packets(t, newOutbound(t, option.ShadowsocksOutbound{Remote: at, Method: method, Password: password}), "192.0.2.1:443")
		from := outboundtest.Sends(t, c, "192.0.2.1:443", "hello")
		client, session, _, _ := s.read(t)
		good := s.seal(1, session, from, "first", unix())
		bad := [][]byte{{}, []byte("x"), random(1000), good[:len(good)-1], append(bytes.Clone(good), 0)}
		changed := bytes.Clone(good)
		changed[len(changed)/2] ^= 1
		bad = append(bad, changed)
		if modern {
			bad = append(bad, s.seal(1, session, from, "late", unix()+ss2022.Window+1))
			other := &udpServer{method: method}
			bad = append(bad, other.seal(2, session+1, from, "to another", unix()))
			up := ss2022.NewClientSealer(ss2022.NewChain(m, bytes.Repeat([]byte{7}, m.KeySize())), session, source{})
			bad = append(bad, bytes.Clone(up.Seal(buf.As([]byte("a request")), from, unix(), 0).Bytes()))
		}
		send := func(d []byte) {
			if _, err := s.WriteTo(d, client); err != nil {
				t.Fatal(err)
			}
		}
		for _, d := range bad {
			send(d)
		}
		send(good)
		receive(t, c.(*packetConn), true, from, "first")
		if modern {
			send(good) // again
			restarted := &udpServer{method: method}
			send(restarted.seal(3, session, from, "restarted", unix()))
			receive(t, c.(*packetConn), false, from, "restarted")
			send(good) // of the session before
		}
		send(s.seal(1, session, from, "second", unix()))
		receive(t, c.(*packetConn), true, from, "second")
	}
}

func TestRefusals(t *testing.T) {
	out := newOutbound(t, option.ShadowsocksOutbound{Remote: outboundtest.Refused(t), Method: "aes-128-gcm", Password: "a secret"})
	outboundtest.Fails(t, out, outboundtest.To("a.example:80"), "a secret", "127.0.0.1", "refused")
	o := out.(*Outbound)
	o.packet.Network = []string{"udp"}
	outboundtest.Fails(t, o, outboundtest.To("a.example:80"), "a secret", "leaves out tcp")
	o.packet.Network = []string{"tcp"}
	if _, err := o.ListenPacket(t.Context(), outboundtest.To("192.0.2.1:53")); err == nil || !strings.Contains(err.Error(), "leaves out udp") {
		t.Errorf("packets: %v", err)
	}
	for _, bad := range []option.ShadowsocksOutbound{{Method: "rot13"}, {Method: "2022-blake3-aes-128-gcm", Password: "a secret"}} {
		if _, err := New(outboundtest.Env(nil), "out", &bad); err == nil || strings.Contains(err.Error(), "a secret") {
			t.Errorf("%s: %v", bad.Method, err)
		}
	}
}

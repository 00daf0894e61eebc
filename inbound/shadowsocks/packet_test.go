package shadowsocks

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/inbound"
	"heki/inbound/internal/match"
	"heki/internal/netio"
	"heki/internal/protocol/shadowsocks"
	"heki/internal/protocol/ss2022"
	"heki/option"
	"heki/transport/tcp"
)

// echoes answers packets with what they bring, and counts the sessions of each user.
type echoes struct {
	mu       sync.Mutex
	sessions map[string]int
}

func (e *echoes) RouteConn(_ context.Context, conn net.Conn, _ *adapter.Metadata) error {
	return conn.Close()
}

func (e *echoes) RoutePacketConn(_ context.Context, conn N.PacketConn, md *adapter.Metadata) error {
	defer conn.Close()
	e.mu.Lock()
	e.sessions[md.User.Name]++
	e.mu.Unlock()
	w, ok := conn.(N.PacketReadWaiter)
	if !ok {
		return errors.New("no read waiter")
	}
	w.InitializeReadWaiter(netio.Room)
	for {
		b, dst, err := w.WaitReadPacket()
		if err != nil {
			return err
		}
		if dst.Fqdn != "" {
			dst = M.ParseSocksaddr("192.0.2.53:53")
		}
		err = conn.WritePacket(b, dst)
		netio.Put(b)
		if err != nil {
			return err
		}
	}
}

func (e *echoes) opened(name string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sessions[name]
}

// serveUDP runs an inbound in front of echoes and returns its address.
func serveUDP(t testing.TB, c client, users int) (*echoes, string) {
	t.Helper()
	e := &echoes{sessions: make(map[string]int)}
	o := c.options(option.Stream{})
	o.Listen.Listen = option.Listable[string]{"127.0.0.1"}
	o.Network = option.Listable[string]{"udp"}
	env := inbound.Env{Router: e, Listeners: new(tcp.Pool), Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return someTime }}
	in, err := New(env, "in", o, NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	all := make([]*adapter.User, users)
	for i := range all {
		all[i] = &adapter.User{Account: c.account(i)}
	}
	um, _ := in.(adapter.UserManager)
	if err := um.SwapUsers(all); err != nil {
		t.Fatal(err)
	}
	if err := in.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	a, _ := in.(interface{ Addresses() []net.Addr })
	return e, a.Addresses()[0].String()
}

// talker is a client of one user over UDP.
type talker struct {
	c      client
	user   int
	trial  *shadowsocks.Trial
	key    *shadowsocks.Key
	seal   *ss2022.Sealer
	header *ss2022.PacketKey
}

func newTalker(c client, user int, session uint64) *talker {
	k := &talker{c: c, user: user}
	if c.modern > 0 {
		k.seal = ss2022.NewClientSealer(c.chain(user), session, rand.Reader)
		k.header = ss2022.NewPacketKey(c.modern, c.key(user), false)
		return k
	}
	k.trial, k.key = shadowsocks.NewTrial(c.classic), shadowsocks.NewKey(c.classic, c.account(user).Password)
	return k
}

// datagram is text for dst, sealed.
func (k *talker) datagram(text string, dst M.Socksaddr) []byte {
	b := buf.As([]byte(text))
	if k.c.modern > 0 {
		return bytes.Clone(k.seal.Seal(b, dst, k.c.unix(), 3).Bytes())
	}
	return bytes.Clone(k.trial.SealPacket(b, k.key, dst, random(k.c.classic.KeySize())).Bytes())
}

// answer opens what the server sent.
func (k *talker) answer(b []byte) (string, error) {
	if k.c.modern == 0 {
		plain, err := k.trial.OpenPacket(b, k.key)
		if err != nil {
			return "", err
		}
		_, n, err := shadowsocks.ParsePacket(plain, "")
		return string(plain[n:]), err
	}
	var p ss2022.Packet
	if err := p.OpenHeader(k.header, b); err != nil {
		return "", err
	}
	plain, err := p.Open(k.header.SessionCipher(k.c.key(k.user), p.Session))
	if err != nil {
		return "", err
	}
	_, n, err := ss2022.ParseBody(plain, true, "")
	return string(plain[n:]), err
}

func dialUDP(t testing.TB, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// exchange sends a datagram and wants it back. A lost one is sent again.
func (k *talker) exchange(t testing.TB, conn net.Conn, text string, dst M.Socksaddr) {
	t.Helper()
	got := make([]byte, 70_000)
	for range 5 {
		if _, err := conn.Write(k.datagram(text, dst)); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		n, err := conn.Read(got)
		if err != nil {
			continue
		}
		if answer, err := k.answer(got[:n]); err != nil || answer != text {
			t.Fatalf("%q, %v; want %q", answer, err, text)
		}
		return
	}
	t.Fatalf("no answer to %.20q", text)
}

// unanswered sends datagrams and wants silence.
func unanswered(t testing.TB, conn net.Conn, datagrams ...[]byte) {
	t.Helper()
	for _, d := range datagrams {
		if _, err := conn.Write(d); err != nil {
			t.Fatal(err)
		}
	}
	conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 70_000)); err == nil {
		t.Errorf("an answer of %d bytes", n)
	}
}

func packetClients() map[string]client {
	return map[string]client{
		"aead aes":    {classic: shadowsocks.AES128GCM, at: someTime},
		"aead chacha": {classic: shadowsocks.ChaCha20Poly1305, at: someTime},
		"2022":        {modern: ss2022.AES128GCM, at: someTime},
		"2022 chacha": {modern: ss2022.ChaCha20Poly1305, single: true, at: someTime},
	}
}

func (c client) count() int {
	if c.modern > 0 && !c.modern.MultiUser() {
		return 1
	}
	return 100 // more than are tried without a search
}

func TestPackets(t *testing.T) {
	for name, c := range packetClients() {
		t.Run(name, func(t *testing.T) {
			e, addr := serveUDP(t, c, c.count())
			last := c.count() - 1
			who := c.account(last).Name
			k, conn := newTalker(c, last, 7), dialUDP(t, addr)
			for i, text := range []string{"first", "second", string(bytes.Repeat([]byte("long"), 5000)), "", "fifth"} {
				if text != "" {
					k.exchange(t, conn, text, []M.Socksaddr{destination, M.ParseSocksaddr("example.com:53"), M.ParseSocksaddr("[2001:db8::1]:53")}[i%3])
				}
			}
			if n := e.opened(who); n != 1 {
				t.Errorf("%d sessions of one socket", n)
			}
			replayed := k.datagram("hello", destination)
			conn.Write(replayed)
			conn.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := conn.Read(make([]byte, 2000)); err != nil {
				t.Fatal(err)
			}
			unanswered(t, conn, replayed)             // by the same session
			unanswered(t, dialUDP(t, addr), replayed) // by anybody else
			stranger := newTalker(c, 500, 8)
			flipped := k.datagram("hello", destination)
			flipped[len(flipped)-1] ^= 1
			garbage := [][]byte{stranger.datagram("hello", destination), flipped, random(1200), {1}, {}}
			good := k.datagram("hello", destination)
			for n := 1; n < len(good); n += 7 {
				garbage = append(garbage, good[:n])
			}
			unanswered(t, dialUDP(t, addr), garbage...)
			unanswered(t, conn, garbage...)
			k.exchange(t, conn, "still there", destination)
			if n := e.opened(who); n != 1 {
				t.Errorf("%d sessions after garbage", n)
			}
			if c.modern > 0 {
				late := newTalker(client{modern: c.modern, single: c.single, at: someTime.Add(31 * time.Second)}, last, 9)
				unanswered(t, dialUDP(t, addr), late.datagram("hello", destination))
			}
		})
	}
}

// Another user on the same address and port is another session.
func TestPacketsOfAnotherUser(t *testing.T) {
	for name, c := range packetClients() {
		if c.count() == 1 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			e, addr := serveUDP(t, c, c.count())
			conn := dialUDP(t, addr)
			for i := range 4 {
				k := newTalker(c, i, 7)
				for range i { // a header of 2022 is taken once, whoever sends it: others' numbers are used up
					k.datagram("not sent", destination)
				}
				k.exchange(t, conn, fmt.Sprint("user ", i), destination)
			}
			for i := range 4 {
				if n := e.opened(c.account(i).Name); n != 1 {
					t.Errorf("user %d has %d sessions", i, n)
				}
			}
		})
	}
}

// A client of 2022 that comes from another port is in the same session.
func TestRoaming(t *testing.T) {
	c := client{modern: ss2022.AES256GCM, at: someTime}
	e, addr := serveUDP(t, c, 2)
	k := newTalker(c, 1, 7)
	for i := range 3 {
		k.exchange(t, dialUDP(t, addr), fmt.Sprint("from port ", i), destination)
	}
	if n := e.opened(c.account(1).Name); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// Datagrams count apart from connections, as anybody can send them in another's name.
func TestPacketBans(t *testing.T) {
	for name, c := range packetClients() {
		t.Run(name, func(t *testing.T) {
			in := newTestInbound(t, c, NewMemory(), 1)
			var b *base
			switch in := in.(type) {
			case *classic:
				b = &in.base
			case *modern:
				b = &in.base
			}
			b.packets = match.NewBans(3, time.Minute, time.Hour)
			h, _ := in.(inbound.PacketHandler)
			from := func(addr string) inbound.Endpoint {
				return inbound.Endpoint{Source: netip.AddrPortFrom(netip.MustParseAddr(addr), 1)}
			}
			junk := func(from inbound.Endpoint) error {
				d := netio.Pool{}.Get(200)
				_, _ = d.Write(random(200))
				return h.ServePacket(d, from)
			}
			for i := range 5 {
				if err := junk(from("192.0.2.1")); err == nil || errors.Is(err, errBanned) != (i >= 3) {
					t.Errorf("datagram %d: %v", i, err)
				}
			}
			if err := junk(from("192.0.2.2")); err == nil || errors.Is(err, errBanned) {
				t.Errorf("another address: %v", err)
			}
			if b.streams.Banned(netip.MustParseAddr("192.0.2.1"), someTime) {
				t.Error("its connections are refused too")
			}
		})
	}
}

package ssr

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/ssr/cipher"
	"heki/internal/protocol/ssr/obfs"
	"heki/internal/protocol/ssr/protocol"
	"heki/internal/protocol/ssr/ssrtest"
	"heki/internal/protocol/wire/wiretest"
)

// anyone is an authority with one user, or none that is told apart.
type anyone struct {
	port *Port
	uid  uint32
	key  []byte
	now  time.Time
	host string
	head *protocol.Head
	err  error
}

func (a *anyone) Host(host string) error { a.host = host; return nil }
func (a *anyone) Fresh([22]byte) bool    { return true }
func (a *anyone) Now() time.Time         { return a.now }
func (a *anyone) Admit(h *protocol.Head) error {
	a.head = h
	if h != nil && a.err == nil {
		return CheckTime(h.UTC, a.now)
	}
	return a.err
}

func (a *anyone) UserKey(uid uint32) ([]byte, bool) {
	if a.key == nil {
		return a.port.Key(), true
	}
	return a.key, uid == a.uid
}

func newPort(t testing.TB, c Config) *Port {
	t.Helper()
	p, err := NewPort(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// capturePort returns the port of a recording and the authority for it.
func capturePort(t *testing.T, v ssrtest.Capture) (*Port, *anyone) {
	t.Helper()
	p := newPort(t, Config{Method: v.Method, Password: v.Password, Protocol: v.Protocol, Obfs: v.Obfs})
	a := &anyone{port: p, now: time.Unix(v.Time, 0)}
	if id, password, ok := strings.Cut(v.ProtocolParam, ":"); ok {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		a.uid, a.key = uint32(n), p.UserKey(password)
	}
	return p, a
}

// TestCaptures serves what real clients sent, whole and byte by byte, and reads what the reference
// server answered them where no key of the client's is needed for that.
func TestCaptures(t *testing.T) {
	for i, v := range ssrtest.Load(t).Captures {
		t.Run(fmt.Sprintf("%d %s %s %s", i, v.Client, v.Protocol, v.Obfs), func(t *testing.T) {
			up := captured(t, v, "c2s")
			for _, step := range []int{1, 7, len(up)} {
				p, a := capturePort(t, v)
				testCapture(t, v, p, a, up, step)
			}
			testCapturedUDP(t, v)
		})
	}
}

func captured(t *testing.T, v ssrtest.Capture, way string) (all []byte) {
	for _, flight := range v.TCP {
		if flight[0] == way {
			b, err := hex.DecodeString(flight[1])
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b...)
		}
	}
	return all
}

func testCapture(t *testing.T, v ssrtest.Capture, p *Port, a *anyone, up []byte, step int) {
	t.Helper()
	h := p.Handshake(a, 0, [32]byte{}, nil)
	n, done := 0, false
	for !done {
		if n == len(up) {
			t.Fatal("the whole stream is not enough")
		}
		n = min(n+step, len(up))
		var err error
		if done, err = h.Push(up[:n]); err != nil {
			t.Fatalf("%d of %d bytes: %v", n, len(up), err)
		}
		h.Greeting()
	}
	if want := p.spec.Users; (a.head != nil) != want {
		t.Errorf("head %v, want %v", a.head, want)
	}
	if v.ObfsParam != "" && a.host != v.ObfsParam {
		t.Errorf("host %q, want %q", a.host, v.ObfsParam)
	}
	c, err := h.Conn(newDeep(wiretest.New(&slow{up, step})))
	if err != nil {
		t.Fatal(err)
	}
	head := address.AppendS(nil, h.Destination)
	rest, err := io.ReadAll(c)
	if err != nil || !v.ToServer.Matches(append(head, rest...)) {
		t.Errorf("step %d: %d bytes, want %d, err %v", step, len(head)+len(rest), v.ToServer.Len, err)
	}
}

// slow reads b in steps.
type slow struct {
	b    []byte
	step int
}

func (s *slow) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.b[:min(s.step, len(s.b))])
	s.b = s.b[n:]
	return n, nil
}

func testCapturedUDP(t *testing.T, v ssrtest.Capture) {
	t.Helper()
	p, a := capturePort(t, v)
	user := a.key
	if user == nil {
		user = p.Key()
	}
	sent := 0
	for _, d := range v.UDP {
		b, err := hex.DecodeString(d[1])
		if err != nil {
			t.Fatal(err)
		}
		packet := buf.As(b)
		if d[0] == "s2c" {
			if src, err := p.OpenServerDatagram(packet, user); err != nil || src.String() != v.UDPDest {
				t.Errorf("answer from %s, %v", src, err)
			}
			continue
		}
		dst, _, err := p.OpenDatagram(packet, a.UserKey)
		found := false
		for _, payload := range v.UDPSent {
			found = found || bytes.Equal(payload, packet.Bytes())
		}
		if err != nil || dst.String() != v.UDPDest || !found {
			t.Errorf("datagram for %s, %d bytes, known %v, %v", dst, packet.Len(), found, err)
		}
		sent++
	}
	if sent < len(v.UDPSent) {
		t.Errorf("%d datagrams of %d", sent, len(v.UDPSent))
	}
}

// combinations calls f for every cell that is served.
func combinations(f func(c Config)) {
	for _, method := range cipher.Names() {
		for _, proto := range protocol.Names() {
			for _, o := range obfs.Names() {
				f(Config{Method: method, Password: "port password", Protocol: proto, Obfs: o})
			}
		}
	}
}

// ends is a client and a server that are connected.
func ends(t testing.TB, c Config, first []byte) (client, server *Conn, dst M.Socksaddr) {
	t.Helper()
	p := newPort(t, c)
	a := &anyone{port: p, now: time.Unix(1_700_000_000, 0), uid: 7, key: p.UserKey("user password")}
	if a.key == nil {
		a.key = p.Key()
	}
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	id := Identity{UID: 7, Key: a.key, ClientID: 1, ConnID: 2, Host: "a.example", Port: 8388}
	to := M.ParseSocksaddr("example.org:443")
	client = p.Client(newDeep(near), id, to, a.now, seed(), nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := client.Write(first); err != nil {
			t.Error(err)
		}
	})
	// The client's answers are read meanwhile: net.Pipe has no buffer.
	server, h := serve(t, p, a, far, client)
	wg.Wait()
	if h.Destination != to || h.Packets || !h.Known() {
		t.Errorf("destination %s", h.Destination)
	}
	return client, server, h.Destination
}

func seed() (s [32]byte) {
	_, _ = rand.Read(s[:])
	return s
}

// serve does the server's part of a handshake.
func serve(t testing.TB, p *Port, a *anyone, raw net.Conn, client *Conn) (*Conn, *Handshake) {
	t.Helper()
	h := p.Handshake(a, 0, seed(), nil)
	var seen []byte
	for {
		b := make([]byte, 4096)
		n, err := raw.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, b[:n]...)
		done, err := h.Push(seen)
		if err != nil {
			t.Fatal(err)
		}
		if g := h.Greeting(); g != nil {
			if _, err := raw.Write(g); err != nil {
				t.Fatal(err)
			}
		}
		if !done {
			continue
		}
		conn := newDeep(&replayed{Conn: raw, first: seen})
		// The empty frame that it begins with is for the client's reader.
		got := make(chan error, 1)
		go func() {
			if h.greet {
				_, err := client.source.Peek(1)
				got <- err
				return
			}
			got <- nil
		}()
		server, err := h.Conn(conn)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		return server, h
	}
}

// replayed reads first before its connection.
type replayed struct {
	net.Conn
	first []byte
}

func (r *replayed) Read(p []byte) (int, error) {
	if len(r.first) > 0 {
		n := copy(p, r.first)
		r.first = r.first[n:]
		return n, nil
	}
	return r.Conn.Read(p)
}

// TestEveryCell sends both ways through every combination of the three layers.
func TestEveryCell(t *testing.T) {
	combinations(func(c Config) {
		client, server, _ := ends(t, c, []byte("hello"))
		send(t, c, client, server, nil, []byte("hello"))
		for _, n := range []int{1, 1440, 20000} {
			payload := make([]byte, n)
			_, _ = rand.Read(payload)
			send(t, c, server, client, payload, payload)
			send(t, c, client, server, payload, payload)
		}
	})
}

func send(t *testing.T, c Config, from, to *Conn, payload, want []byte) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		if len(payload) > 0 {
			if _, err := from.Write(payload); err != nil {
				t.Errorf("%v: %v", c, err)
			}
		}
	})
	got := make([]byte, len(want))
	if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%v: %d bytes: %v", c, len(want), err)
	}
	wg.Wait()
}

// TestDatagrams sends both ways through every combination of the two layers.
func TestDatagrams(t *testing.T) {
	combinations(func(c Config) {
		if c.Obfs != "plain" {
			return
		}
		p := newPort(t, c)
		user := p.UserKey("pw")
		who := func(uid uint32) ([]byte, bool) { return user, uid == 7 }
		to := M.ParseSocksaddr("example.org:53")
		b := roomy("query")
		if err := p.SealClientDatagram(b, to, 7, user, rand.Reader); err != nil {
			t.Fatal(err)
		}
		if dst, uid, err := p.OpenDatagram(b, who); err != nil || dst != to || string(b.Bytes()) != "query" || uid != 7 && p.KnowsUsers() {
			t.Errorf("%v: %s, %d, %q, %v", c, dst, uid, b.Bytes(), err)
		}
		from := M.SocksaddrFromNetIP(netip.MustParseAddrPort("[2001:db8::1]:53"))
		b = roomy("answer")
		if err := p.SealDatagram(b, from, user, rand.Reader); err != nil {
			t.Fatal(err)
		}
		if src, err := p.OpenServerDatagram(b, user); err != nil || src != from || string(b.Bytes()) != "answer" {
			t.Errorf("%v: %s, %q, %v", c, src, b.Bytes(), err)
		}
	})
}

func roomy(text string) *buf.Buffer {
	b := buf.NewSize(2000)
	b.Resize(500, 0)
	_, _ = b.WriteString(text)
	return b
}

// TestRefused: what the authority says no to is refused before a destination is known, and an unknown
// user is even with ciphers without an IV.
func TestRefused(t *testing.T) {
	for _, name := range protocol.Names()[1:] {
		p := newPort(t, Config{Method: "none", Password: "x", Protocol: name, Obfs: "plain"})
		now := time.Unix(1_700_000_000, 0)
		key := p.UserKey("pw")
		flight := func(k []byte, at time.Time) []byte {
			fake := wiretest.New(strings.NewReader(""))
			c := p.Client(fake, Identity{UID: 7, Key: k}, M.ParseSocksaddr("1.2.3.4:5"), at, seed(), nil)
			_, _ = c.Write([]byte("hello"))
			return []byte(strings.Join(fake.Writes(), ""))
		}
		no := errors.New("no")
		for _, tt := range []struct {
			name string
			raw  []byte
			a    anyone
			err  error
		}{
			{"right", flight(key, now), anyone{uid: 7}, nil},
			{"unknown", flight(key, now), anyone{uid: 8}, protocol.ErrUser},
			{"empty key", flight([]byte{}, now), anyone{uid: 7}, protocol.ErrAuth},
			{"refused", flight(key, now), anyone{uid: 7, err: no}, no},
			{"a day late", flight(key, now.Add(-Skew-time.Second)), anyone{uid: 7}, ErrTime},
			{"a day early", flight(key, now.Add(Skew+time.Second)), anyone{uid: 7}, ErrTime},
			{"just in time", flight(key, now.Add(-Skew)), anyone{uid: 7}, nil},
		} {
			tt.a.port, tt.a.key, tt.a.now = p, key, now
			h := p.Handshake(&tt.a, 0, seed(), nil)
			done, err := h.Push(tt.raw)
			if !errors.Is(err, tt.err) || done != (tt.err == nil) {
				t.Errorf("%s, %s: %v, %v, want %v", name, tt.name, done, err, tt.err)
			}
			h.Drop()
		}
	}
}

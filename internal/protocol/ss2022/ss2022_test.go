package ss2022

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/shadowsocks"
	"heki/internal/protocol/wire/wiretest"
)

const someTime = 1_700_000_000

var destination = M.ParseSocksaddr("example.com:443")

func methods() []Method { return []Method{AES128GCM, AES256GCM, ChaCha20Poly1305} }

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func clock() int64 { return someTime }

func TestParseKey(t *testing.T) {
	for _, tt := range []struct {
		m    Method
		text string
		ok   bool
	}{
		{AES128GCM, "MjQ5MjBkZWNmODNmNjk2MA==", true},
		{AES128GCM, "MjQ5MjBkZWNmODNmNjk2MGI4MGY3MzdhMjhlZWFmYzE=", false},
		{AES256GCM, "MjQ5MjBkZWNmODNmNjk2MGI4MGY3MzdhMjhlZWFmYzE=", true},
		{AES256GCM, "MjQ5MjBkZWNmODNmNjk2MA==", false},
		{AES128GCM, "MjQ5MjBkZWNmODNmNjk2MA", false},
		{AES128GCM, "password", false},
		{AES128GCM, "", false},
	} {
		key, err := ParseKey(tt.m, tt.text)
		if ok := err == nil && base64.StdEncoding.EncodeToString(key) == tt.text; ok != tt.ok {
			t.Errorf("%s %q: %v", tt.m, tt.text, err)
		}
		if err != nil && !errors.Is(err, ErrKey) {
			t.Error(err)
		}
	}
	for _, m := range methods() {
		if got, ok := ParseMethod(m.String()); got != m || !ok {
			t.Errorf("%s is %v", m, got)
		}
	}
	if _, ok := ParseMethod("aes-128-gcm"); ok {
		t.Error("an AEAD method is one of 2022")
	}
}

// exchange sends a request over a stream and opens it as a server with the user's key does.
func exchange(t testing.TB, m Method, identity bool, padding int, payload []byte) (client, server *shadowsocks.Conn, dst M.Socksaddr) {
	t.Helper()
	serverKey, key := random(m.KeySize()), random(m.KeySize())
	if !identity {
		serverKey = nil
	}
	chain := NewChain(m, serverKey, key)
	up := wiretest.New(nil)
	salt := random(m.KeySize())
	if n, err := NewClientConn(up, chain, salt, destination, max(padding, 1), clock, nil).Write(payload); n != len(payload) || err != nil {
		t.Fatal(n, err)
	}
	b := []byte(up.Writes()[0])
	if seal := SealRequest(nil, chain, salt, someTime, destination, max(padding-len(payload), 0), payload); !bytes.Equal(seal, b) {
		t.Fatalf("%s: the first write is no request", m)
	}
	if identity {
		if hash := Identify(m, serverKey, b); hash != HashOf(key) {
			t.Fatalf("%s: the identity is %x, want %x", m, hash, HashOf(key))
		}
		if hash := Identify(m, random(m.KeySize()), b); hash == HashOf(key) {
			t.Errorf("%s: any server's key shows the identity", m)
		}
	}
	for n := range m.RequestSize(identity) {
		if _, _, err := OpenRequest(m, key, b[:n], identity); !errors.Is(err, ErrShort) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if _, _, err := OpenRequest(m, random(m.KeySize()), b, identity); !errors.Is(err, ErrRequest) {
		t.Fatalf("another key: %v", err)
	}
	req, n, err := OpenRequest(m, key, b, identity)
	if err != nil || n != m.RequestSize(identity) || req.Unix != someTime {
		t.Fatalf("%d bytes, %+v, %v", n, req, err)
	}
	left, right := net.Pipe()
	client = NewClientConn(wiretest.NewDeep(left), chain, salt, destination, max(padding, 1), clock, nil)
	go client.Write(payload)
	in := wiretest.NewDeep(right)
	if _, err := in.Discard(n); err != nil {
		t.Fatal(err)
	}
	server = NewServerConn(in, m, key, req, random(m.KeySize()), clock, nil)
	if dst, err = ReadVariable(server); err != nil {
		t.Fatal(err)
	}
	return client, server, dst
}

func TestStream(t *testing.T) {
	for _, m := range methods() {
		for _, identity := range []bool{false, true} {
			if identity && !m.MultiUser() {
				continue
			}
			for _, payload := range [][]byte{nil, []byte("hello"), random(30_000)} {
				client, server, dst := exchange(t, m, identity, 10, payload)
				if dst != destination {
					t.Errorf("destination %s", dst)
				}
				go func() {
					client.Write([]byte(" and "))
					client.Write(bytes.Repeat([]byte("m"), 70_000))
				}()
				want := slices.Concat(payload, []byte(" and "), bytes.Repeat([]byte("m"), 70_000))
				got := make([]byte, len(want))
				if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: up: %v", m, err)
				}
				answer := random(90_000)
				go func() {
					server.Write(answer[:1])
					server.WriteBuffer(buf.As(bytes.Clone(answer[1:60_001])))
					server.Write(answer[60_001:])
				}()
				got = make([]byte, len(answer))
				if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, answer) {
					t.Errorf("%s: down: %v", m, err)
				}
			}
		}
	}
}

func TestVariable(t *testing.T) {
	for _, tt := range []struct {
		name    string
		padding int
		payload string
		ok      bool
	}{
		{"padding", 900, "", true},
		{"both", 1, "x", true},
		{"payload", 0, "x", true},
		{"neither", 0, "", false},
		{"too much padding", 901, "x", false},
	} {
		b := AppendVariable(nil, destination, tt.padding, []byte(tt.payload))
		dst, n, err := ParseVariable(b)
		if ok := err == nil && dst == destination && string(b[n:]) == tt.payload; ok != tt.ok {
			t.Errorf("%s: %s, %d, %v", tt.name, dst, n, err)
		}
		for i := range len(b) - len(tt.payload) {
			if _, _, err := ParseVariable(b[:i]); !errors.Is(err, ErrRequest) {
				t.Fatalf("%s: %d bytes: %v", tt.name, i, err)
			}
		}
	}
}

func TestBadFixedHeaders(t *testing.T) {
	const m = AES128GCM
	key, salt := random(16), random(16)
	for name, fixed := range map[string]string{
		"response":     "\x01\x00\x00\x00\x00\x65\x53\xf1\x00\x00\x09",
		"past any day": "\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x09",
	} {
		half := shadowsocks.NewHalf(m.session(key, salt), MaxPayload)
		if _, _, err := OpenRequest(m, key, half.Seal(bytes.Clone(salt), []byte(fixed)), false); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for off, ok := range map[int64]bool{-31: false, -30: true, 0: true, 30: true, 31: false} {
		if Fresh(someTime+off, someTime) != ok {
			t.Errorf("%d s off", off)
		}
	}
}

func TestPacket(t *testing.T) {
	from := M.ParseSocksaddr("192.0.2.1:53")
	for _, m := range methods() {
		for _, identity := range []bool{false, true} {
			if identity && !m.MultiUser() {
				continue
			}
			key, serverKey := random(m.KeySize()), random(m.KeySize())
			var named []byte
			if identity {
				named = serverKey
			} else {
				serverKey = key
			}
			client := NewClientSealer(NewChain(m, named, key), 77, rand.Reader)
			server := NewPacketKey(m, serverKey, identity)
			answers := NewSealer(m, key, 78, 77, rand.Reader)
			var p Packet
			for id := range uint64(3) {
				datagram := bytes.Clone(client.Seal(buf.As([]byte("hello")), destination, someTime, int(id)).Bytes())
				for n := range datagram {
					if p.OpenHeader(server, datagram[:n]) == nil {
						if _, err := p.Open(server.SessionCipher(key, p.Session)); err == nil {
							t.Fatalf("%d bytes are taken", n)
						}
					}
					datagram = bytes.Clone(client.Seal(buf.As([]byte("hello")), destination, someTime, int(id)).Bytes())
				}
				if err := p.OpenHeader(server, datagram); err != nil || p.Session != 77 || identity && p.Hash != HashOf(key) {
					t.Fatalf("%s: %+v, %v", m, p, err)
				}
				plain, err := p.Open(server.SessionCipher(key, p.Session))
				if err != nil {
					t.Fatalf("%s: %v", m, err)
				}
				body, n, err := ParseBody(plain, false, "")
				if err != nil || body.Unix != someTime || body.Address != destination || string(plain[n:]) != "hello" {
					t.Errorf("%s: %+v, %q, %v", m, body, plain[n:], err)
				}
				reply := answers.Seal(buf.As([]byte("world")), from, someTime, 9).Bytes()
				mine := NewPacketKey(m, key, false)
				if err := p.OpenHeader(mine, reply); err != nil || p.Session != 78 || p.ID != id {
					t.Fatalf("%s: answer %+v, %v", m, p, err)
				}
				if plain, err = p.Open(mine.SessionCipher(key, 78)); err != nil {
					t.Fatal(err)
				}
				body, n, err = ParseBody(plain, true, "")
				if err != nil || body.Session != 77 || body.Address != from || string(plain[n:]) != "world" {
					t.Errorf("%s: answer %+v, %q, %v", m, body, plain[n:], err)
				}
				if _, _, err := ParseBody(plain, false, ""); err == nil {
					t.Error("an answer is a request")
				}
			}
		}
	}
}

func TestWindow(t *testing.T) {
	var w ReplayWindow
	const base = 1 << 40
	for _, tt := range []struct {
		id    uint64
		fresh bool
	}{
		{base, true},
		{base, false},
		{base, false},
		{base - 1, true},
		{base + 5, true},
		{base + 3, true},
		{base + 3, false},
		{base + 5 - windowSize, false},
		{base + 6 - windowSize, true},
		{base + 6 - windowSize, false},
		{base + 100_000, true},
		{base + 5, false},
		{base + 99_999, true},
		{base + 100_000 - 8127, true},
		{base + 100_000 - 8128, false},
		{0, false},
		{1<<64 - 1, true},
		{1<<64 - 1, false},
		{0, false},
		{1<<64 - 2, true},
	} {
		if w.Has(tt.id) == tt.fresh || w.Add(tt.id) != tt.fresh {
			t.Errorf("%d: fresh is not %v", tt.id, tt.fresh)
		}
	}
	var zero ReplayWindow
	if zero.Has(0) || !zero.Add(0) || zero.Add(0) {
		t.Error("the first datagram of a session")
	}
}

// A window agrees with a set, whatever the order.
func FuzzWindow(f *testing.F) {
	f.Add([]byte{1, 2, 200, 3, 2, 255, 255, 255})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var w ReplayWindow
		seen, last := make(map[uint64]bool), uint64(0)
		for i, step := range steps {
			id := last + uint64(step)*uint64(step) - min(last, uint64(step)*40)
			want := !seen[id] && (len(seen) == 0 || id > last || last-id < windowSize)
			if got := w.Add(id); got != want {
				t.Fatalf("step %d: %d is fresh: %v, want %v", i, id, got, want)
			}
			if want {
				seen[id], last = true, max(last, id)
			}
		}
	})
}

func FuzzParseVariable(f *testing.F) {
	f.Add(AppendVariable(nil, destination, 3, []byte("hello")))
	f.Fuzz(func(t *testing.T, in []byte) {
		dst, n, err := ParseVariable(in)
		if err != nil {
			return
		}
		padding := n - 2 - addressSize(in)
		again, m, err := ParseVariable(AppendVariable(nil, dst, padding, in[n:]))
		if err != nil || again != dst || m > n {
			t.Errorf("%s and %d bytes, %s and %d, %v", dst, n, again, m, err)
		}
	})
}

// addressSize is the length of the address at the start of in, which is one.
func addressSize(in []byte) int {
	_, n, _ := address.ParseS(in, "")
	return n
}

func FuzzParseBody(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x65\x53\xf1\x00\x00\x00\x01\x01\x02\x03\x04\x00\x35query"), false)
	f.Add([]byte("\x01\x00\x00\x00\x00\x65\x53\xf1\x00\x00\x00\x00\x00\x00\x00\x00\x4d\x00\x01x\x01\x01\x02\x03\x04\x00\x35answer"), true)
	f.Fuzz(func(t *testing.T, in []byte, response bool) {
		body, n, err := ParseBody(in, response, "")
		if err != nil {
			return
		}
		s := Sealer{response: response, client: body.Session}
		b := make([]byte, n+len(in))
		at := bodySize
		if response {
			at += clientSize
		}
		s.putBody(b, body.Address, body.Unix, 0)
		again, _, err := ParseBody(b[:at+address.Size(body.Address)], response, "")
		if err != nil || again != body {
			t.Errorf("%+v, %+v, %v", body, again, err)
		}
	})
}

// No datagram of garbage gets through, and none panics.
func FuzzOpenHeader(f *testing.F) {
	f.Add(random(100))
	keys := make(map[*PacketKey][]byte)
	for _, m := range methods() {
		key := bytes.Repeat([]byte{1}, m.KeySize())
		keys[NewPacketKey(m, key, false)] = key
		if m.MultiUser() {
			keys[NewPacketKey(m, key, true)] = key
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for k, key := range keys {
			var p Packet
			if p.OpenHeader(k, bytes.Clone(in)) != nil {
				continue
			}
			if _, err := p.Open(k.SessionCipher(key, p.Session)); err == nil {
				t.Error("garbage opens")
			}
		}
	})
}

func FuzzOpenRequest(f *testing.F) {
	const m = AES128GCM
	key := bytes.Repeat([]byte{1}, 16)
	good := SealRequest(nil, NewChain(m, key, key), make([]byte, 16), someTime, destination, 0, []byte("x"))
	f.Add(good)
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) >= m.RequestSize(true) {
			Identify(m, key, in)
		}
		if _, n, err := OpenRequest(m, key, in, true); err == nil && !bytes.Equal(in[m.KeySize()+blockLen:n], good[m.KeySize()+blockLen:n]) {
			t.Error("garbage opens")
		}
	})
}

func TestAllocs(t *testing.T) {
	from := M.ParseSocksaddr("192.0.2.1:443")
	for _, m := range methods() {
		key := random(m.KeySize())
		client := NewClientSealer(NewChain(m, key), 77, rand.Reader)
		server := NewPacketKey(m, key, false)
		aead := server.SessionCipher(key, 77)
		var p Packet
		b := buf.NewSize(PacketFront + 1200 + PacketRear)
		n := testing.AllocsPerRun(100, func() {
			b.Resize(PacketFront, 1200)
			client.Seal(b, from, someTime, 0)
			if err := p.OpenHeader(server, b.Bytes()); err != nil {
				t.Fatal(err)
			}
			plain, err := p.Open(aead)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := ParseBody(plain, false, ""); err != nil {
				t.Fatal(err)
			}
		})
		if n > 0 {
			t.Errorf("%s: %v allocations a datagram", m, n)
		}
		b.Release()
	}
}

func BenchmarkPacket(b *testing.B) {
	from := M.ParseSocksaddr("192.0.2.1:443")
	for _, m := range methods() {
		b.Run(m.String(), func(b *testing.B) {
			key := random(m.KeySize())
			client := NewClientSealer(NewChain(m, key), 77, rand.Reader)
			server := NewPacketKey(m, key, false)
			aead := server.SessionCipher(key, 77)
			var p Packet
			d := buf.NewSize(PacketFront + 1200 + PacketRear)
			b.SetBytes(1200)
			b.ReportAllocs()
			for b.Loop() {
				d.Resize(PacketFront, 1200)
				client.Seal(d, from, someTime, 0)
				if err := p.OpenHeader(server, d.Bytes()); err != nil {
					b.Fatal(err)
				}
				if _, err := p.Open(aead); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package ssr

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/ssr/obfs"
	"heki/internal/protocol/ssr/protocol"
	"heki/internal/protocol/wire"
	"heki/internal/protocol/wire/wiretest"
)

// wireBuffer is a connection on which what was written is read.
type wireBuffer struct {
	*wiretest.Fake
	b bytes.Buffer
}

func newWireBuffer() *wireBuffer { return &wireBuffer{Fake: wiretest.NewDiscard(&bytes.Buffer{})} }

func (w *wireBuffer) Write(p []byte) (int, error) { return w.b.Write(p) }
func (w *wireBuffer) Read(p []byte) (int, error)  { return w.b.Read(p) }

func (w *wireBuffer) Peek(n int) ([]byte, error) {
	if w.b.Len() < n {
		return w.b.Bytes(), io.EOF
	}
	return w.b.Bytes(), nil
}

func (w *wireBuffer) Discard(n int) (int, error) { return len(w.b.Next(n)), nil }

// list lends the same few buffers again and again.
type list struct{ small, large []*buf.Buffer }

func (l *list) of(n int) *[]*buf.Buffer {
	if n <= bufferSize {
		return &l.small
	}
	return &l.large
}

func (l *list) Get(n int) *buf.Buffer {
	from := l.of(n)
	if k := len(*from); k > 0 {
		b := (*from)[k-1]
		*from = (*from)[:k-1]
		b.Reset()
		return b
	}
	return buf.With(make([]byte, max(n, bufferSize)))
}

func (l *list) Put(b *buf.Buffer) {
	to := l.of(b.RawCap())
	*to = append(*to, b)
}

// transfer returns a function that moves n bytes from a client to a server in one piece.
func transfer(t testing.TB, c Config, n int) func() error {
	t.Helper()
	p := newPort(t, c)
	a := &anyone{port: p, now: time.Unix(1_700_000_000, 0), uid: 7, key: p.UserKey("pw")}
	if a.key == nil {
		a.key = p.Key()
	}
	up, pool := newWireBuffer(), new(list)
	client := p.Client(up, Identity{UID: 7, Key: a.key, Host: "a.example", Port: 80}, M.ParseSocksaddr("1.2.3.4:5"), a.now, seed(), pool)
	h := p.Handshake(a, 0, seed(), pool)
	if hello := client.w.obfs.Greeting(); hello != nil { // the exchange, without its connections
		if _, err := h.Push(hello); err != nil {
			t.Fatal(err)
		}
		if _, _, err := client.w.obfs.Decode(make([]byte, 2000), h.Greeting()); err != nil {
			t.Fatal(err)
		}
		client.dial.greeted = true
		_, _ = up.b.Write(hello)
	}
	payload := make([]byte, n)
	if _, err := client.Write(payload[:1]); err != nil {
		t.Fatal(err)
	}
	if done, err := h.Push(up.b.Bytes()); !done || err != nil {
		t.Fatal(done, err)
	}
	server, err := h.Conn(up)
	if err != nil {
		t.Fatal(err)
	}
	down := up.b.Len()
	_, _ = up.Discard(down) // the answer came out on the same wire
	read := func(want int) error {
		for want > 0 {
			b, err := server.WaitReadBuffer()
			if err != nil {
				return err
			}
			want -= b.Len()
			wire.Give(pool, b)
		}
		if want < 0 {
			return errors.New("too much came")
		}
		return nil
	}
	if err := read(1); err != nil {
		t.Fatal(err)
	}
	return func() error {
		if _, err := client.Write(payload); err != nil {
			return err
		}
		return read(n)
	}
}

// layers are every protocol on its own, every obfs on its own, and an AEAD.
func layers(f func(name string, c Config)) {
	for _, name := range protocol.Names() {
		f(name, Config{Method: "aes-128-ctr", Password: "x", Protocol: name, Obfs: "plain"})
	}
	for _, name := range obfs.Names()[1:] {
		f(name, Config{Method: "aes-128-ctr", Password: "x", Protocol: "origin", Obfs: name})
	}
	f("aes-128-gcm", Config{Method: "aes-128-gcm", Password: "x", Protocol: "origin", Obfs: "plain"})
}

func TestNoAllocations(t *testing.T) {
	layers(func(name string, c Config) {
		move := transfer(t, c, 16<<10)
		_ = move() // what grows once has grown
		if n := testing.AllocsPerRun(50, func() {
			if err := move(); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations for a chunk, both ends", name, n)
		}
	})
}

// BenchmarkStream moves chunks through all layers, made and read: 0 allocs.
func BenchmarkStream(b *testing.B) {
	layers(func(name string, c Config) {
		b.Run(name, func(b *testing.B) {
			move := transfer(b, c, 16<<10)
			b.SetBytes(16 << 10)
			b.ReportAllocs()
			for b.Loop() {
				if err := move(); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// FuzzHandshake: what a client's beginning comes to does not depend on the parts that it came in.
func FuzzHandshake(f *testing.F) {
	var all []Config
	for _, o := range obfs.Names() {
		all = append(all, Config{Method: "none", Password: "x", Protocol: "auth_chain_a", Obfs: o}, Config{Method: "aes-128-cfb", Password: "x", Protocol: "origin", Obfs: o})
	}
	all = append(all, Config{Method: "aes-128-gcm", Password: "x", Protocol: "auth_aes128_md5", Obfs: "plain"})
	now := time.Unix(1_700_000_000, 0)
	for i, c := range all {
		up := newWireBuffer()
		client := newPort(f, c).Client(up, Identity{Host: "a.example"}, M.ParseSocksaddr("1.2.3.4:5"), now, seed(), nil)
		_, _ = client.Write([]byte("hello"))
		f.Add(byte(i), 7, up.b.Bytes())
	}
	f.Fuzz(func(t *testing.T, which byte, step int, in []byte) {
		c := all[int(which)%len(all)]
		p := newPort(t, c)
		run := func(step int) (M.Socksaddr, bool, error) {
			h := p.Handshake(&anyone{port: p, now: now}, 0, [32]byte{}, nil)
			defer h.Drop()
			for n := 0; n < len(in); {
				n = min(n+step, len(in))
				if done, err := h.Push(in[:n]); done || err != nil {
					return h.Destination, done, err
				}
			}
			return M.Socksaddr{}, false, nil
		}
		dst1, done1, err1 := run(len(in) + 1)
		dst2, done2, err2 := run(1 + max(step, 0)%64)
		if dst1 != dst2 && done1 == done2 || done1 && !done2 && err2 == nil {
			t.Errorf("%v: whole %s, %v, %v; in parts %s, %v, %v", c, dst1, done1, err1, dst2, done2, err2)
		}
	})
}

// BenchmarkDatagram makes and opens one datagram of a segment: 0 allocs.
func BenchmarkDatagram(b *testing.B) {
	for _, name := range protocol.Names() {
		b.Run(name, func(b *testing.B) {
			p := newPort(b, Config{Method: "aes-128-ctr", Password: "x", Protocol: name, Obfs: "plain"})
			user := p.UserKey("pw")
			who := func(uint32) ([]byte, bool) { return user, true }
			to, packet, payload := M.ParseSocksaddr("1.2.3.4:5"), buf.NewSize(2000), make([]byte, 1200)
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				packet.Resize(100, 0)
				_, _ = packet.Write(payload)
				if err := p.SealClientDatagram(packet, to, 7, user, rand.Reader); err != nil {
					b.Fatal(err)
				}
				if _, _, err := p.OpenDatagram(packet, who); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

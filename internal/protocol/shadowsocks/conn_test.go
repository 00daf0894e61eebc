package shadowsocks

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire"
	"heki/internal/protocol/wire/wiretest"
)

func methods() []Method {
	return []Method{AES128GCM, AES192GCM, AES256GCM, ChaCha20Poly1305, XChaCha20Poly1305}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func shallow(c net.Conn) wire.Conn { return wiretest.NewPeeker(c) }
func deep(c net.Conn) wire.Conn    { return wiretest.NewDeep(c) }

// accept does what a server does with a stream of k.
func accept(t testing.TB, conn wire.Conn, m Method, k *Key) *Conn {
	t.Helper()
	head, err := conn.Peek(m.StreamHead())
	if err != nil {
		t.Fatal(err)
	}
	trial := NewTrial(m)
	trial.BeginStream(head)
	if _, _, ok := trial.Try(NewKey(m, "another")); ok {
		t.Fatal("another key is taken")
	}
	aead, _, ok := trial.Try(k)
	if !ok {
		t.Fatal("the key is not taken")
	}
	if _, err := conn.Discard(m.KeySize()); err != nil {
		t.Fatal(err)
	}
	return NewServerConn(conn, m, k, aead, random(m.KeySize()), nil)
}

func TestConn(t *testing.T) {
	for _, m := range methods() {
		for _, source := range []func(net.Conn) wire.Conn{shallow, deep} {
			k := NewKey(m, "password")
			left, right := net.Pipe()
			client := plainClient(source(left), m, k)
			data := random(300_000)
			go func() {
				for _, n := range []int{1, 7, MaxPayload, MaxPayload + 1, 200_000} {
					client.Write(data[:n])
				}
				b := buf.NewSize(3000)
				b.Resize(200, 0)
				b.Write(data[:2000])
				client.WriteBuffer(b)
				client.WriteBuffer(buf.As(bytes.Clone(data[:2000])))
				left.Close()
			}()
			server := accept(t, source(right), m, k)
			got, err := io.ReadAll(server)
			var want []byte
			for _, n := range []int{1, 7, MaxPayload, MaxPayload + 1, 200_000, 2000, 2000} {
				want = append(want, data[:n]...)
			}
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s: %d bytes of %d, %v", m, len(got), len(want), err)
			}
		}
	}
}

// plainClient is a client that puts no address before what is written.
func plainClient(conn wire.Conn, m Method, k *Key) *Conn {
	salt := random(m.KeySize())
	return newClientConn(conn, m, k, salt, SaltPreface(salt), nil)
}

// exchange makes both ends of a connection whose first chunk was sent.
func exchange(t testing.TB, m Method, first []byte) (client, server *Conn, in, out *wiretest.Fake) {
	k := NewKey(m, "password")
	var up bytes.Buffer
	in = wiretest.New(&up)
	client = plainClient(in, m, k)
	if _, err := client.Write(first); err != nil {
		t.Fatal(err)
	}
	out = wiretest.New(bytes.NewReader([]byte(in.Writes()[0])))
	return client, accept(t, out, m, k), in, out
}

func TestOneWrite(t *testing.T) {
	for _, m := range methods() {
		_, server, in, out := exchange(t, m, []byte("hello"))
		if n := len(in.Writes()[0]); n != m.KeySize()+sealedLength+5+TagSize {
			t.Errorf("%s: the first write has %d bytes", m, n)
		}
		b := buf.NewSize(server.FrontHeadroom() + 5 + server.RearHeadroom())
		b.Resize(server.FrontHeadroom(), 0)
		b.WriteString("world")
		if !server.NeedHandshakeForWrite() {
			t.Error("the preface is out already")
		}
		if err := server.WriteBuffer(b); err != nil || server.NeedHandshakeForWrite() {
			t.Error(err)
		}
		if w := out.Writes(); len(w) != 1 || len(w[0]) != m.KeySize()+sealedLength+5+TagSize {
			t.Errorf("%s: the answer is %d writes", m, len(w))
		}
		if err := server.CloseWrite(); err != nil || !out.HalfClosed() {
			t.Errorf("half-close: %v", err)
		}
		if _, err := server.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("a write after the end: %v", err)
		}
	}
}

func TestBrokenStreams(t *testing.T) {
	const m = AES128GCM
	_, _, in, _ := exchange(t, m, []byte("hello"))
	whole := []byte(in.Writes()[0])
	k := NewKey(m, "password")
	for i := range len(whole) - m.StreamHead() {
		n := m.StreamHead() + i
		c := accept(t, wiretest.New(bytes.NewReader(whole[:n])), m, k)
		want := io.ErrUnexpectedEOF
		if _, err := c.Read(make([]byte, 9)); err != want {
			t.Errorf("%d bytes: %v, want %v", n, err, want)
		}
		changed := bytes.Clone(whole)
		changed[n] ^= 1
		c = accept(t, wiretest.New(bytes.NewReader(changed)), m, k)
		for range 2 {
			if _, err := c.Read(make([]byte, 9)); err != errChunk {
				t.Errorf("byte %d changed: %v, want %v", n, err, errChunk)
			}
		}
	}
	half := m.newHalf(k, make([]byte, m.KeySize()))
	sealed := half.Seal(nil, []byte{0x40, 0})
	half = m.newHalf(k, make([]byte, m.KeySize()))
	if _, err := half.Length(sealed); err != errSize {
		t.Errorf("a chunk of 16384 bytes: %v", err)
	}
}

// A deadline in the middle of a chunk costs nothing.
func TestDeadline(t *testing.T) {
	const m = ChaCha20Poly1305
	k := NewKey(m, "password")
	left, right := net.Pipe()
	defer left.Close()
	_, _, in, _ := exchange(t, m, []byte("hello"))
	whole := []byte(in.Writes()[0])
	go left.Write(whole[:m.StreamHead()])
	c := accept(t, deep(right), m, k)
	for n := m.StreamHead(); n < len(whole); n++ {
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		var timeout net.Error
		if _, err := c.Read(make([]byte, 9)); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Fatalf("%d bytes: %v", n, err)
		}
		c.SetReadDeadline(time.Time{})
		go left.Write(whole[n : n+1])
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestPacket(t *testing.T) {
	from := M.ParseSocksaddr("[2001:db8::1]:53")
	for _, m := range methods() {
		k, other, trial := NewKey(m, "password"), NewKey(m, "another"), NewTrial(m)
		for _, room := range []int{0, PacketFront} {
			b := buf.NewSize(room + 5 + PacketRear)
			b.Resize(room, 0)
			b.WriteString("hello")
			b = trial.SealPacket(b, k, from, random(m.KeySize()))
			datagram := bytes.Clone(b.Bytes())
			b.Release()
			plain := make([]byte, len(datagram))
			for n := range datagram {
				if trial.BeginPacket(datagram[:n], plain) {
					if _, _, ok := trial.Try(k); ok {
						t.Fatalf("%s: %d of %d bytes are taken", m, n, len(datagram))
					}
				}
			}
			trial.BeginPacket(datagram, plain)
			if _, _, ok := trial.Try(other); ok {
				t.Errorf("%s: another key is taken", m)
			}
			_, inside, ok := trial.Try(k)
			if !ok {
				t.Fatalf("%s: the key is not taken", m)
			}
			again, err := trial.OpenPacket(datagram, k)
			if err != nil || !bytes.Equal(again, inside) {
				t.Errorf("%s: in place: %q, %v", m, again, err)
			}
			if dst, n, err := ParsePacket(inside, ""); err != nil || dst != from || string(inside[n:]) != "hello" {
				t.Errorf("%s: %s, %q, %v", m, dst, inside[n:], err)
			}
		}
	}
}

func FuzzParsePacket(f *testing.F) {
	f.Add([]byte("\x01\x01\x02\x03\x04\x00\x35query"))
	f.Add([]byte("\x03\x01a\x00\x35"))
	f.Add([]byte("\x03\x02::\x00\x35"))
	f.Fuzz(func(t *testing.T, in []byte) {
		dst, n, err := ParsePacket(in, "")
		if err != nil {
			return
		}
		again, m, err := ParsePacket(append(address.AppendS(nil, dst), in[n:]...), "")
		longer := m > n && in[0] != 3 // an address that came as text may be
		if err != nil || again != dst || longer {
			t.Errorf("%s of %d bytes, %s of %d, %v", dst, n, again, m, err)
		}
	})
}

// Whatever comes after the salt, nothing is delivered that was not sealed.
func FuzzConn(f *testing.F) {
	const m = AES128GCM
	_, _, in, _ := exchange(f, m, []byte("hello"))
	f.Add([]byte(in.Writes()[0])[m.StreamHead():])
	k := NewKey(m, "password")
	head := []byte(in.Writes()[0])[:m.StreamHead()]
	good := []byte(in.Writes()[0])[m.StreamHead():]
	f.Fuzz(func(t *testing.T, rest []byte) {
		c := accept(t, wiretest.New(bytes.NewReader(append(bytes.Clone(head), rest...))), m, k)
		got, err := io.ReadAll(c)
		if len(got) > 0 && !bytes.HasPrefix(rest, good) {
			t.Errorf("%q came out, %v", got, err)
		}
	})
}

func TestAllocs(t *testing.T) {
	for _, m := range methods() {
		k, trial := NewKey(m, "password"), NewTrial(m)
		salt := random(m.KeySize())
		// What crypto/aes and crypto/cipher cost: every datagram has a key of its own.
		want := 2.0
		if m >= ChaCha20Poly1305 {
			want = 1
		}
		b := buf.NewSize(PacketFront + 1200 + PacketRear)
		n := testing.AllocsPerRun(100, func() {
			b.Resize(PacketFront, 1200)
			trial.SealPacket(b, k, M.ParseSocksaddrHostPort("192.0.2.1", 53), salt)
			if _, err := trial.OpenPacket(b.Bytes(), k); err != nil {
				t.Fatal(err)
			}
		})
		if n > 2*want && !raceEnabled { // which makes crypto/sha1 allocate
			t.Errorf("%s: %v allocations for two datagrams, want %v", m, n, 2*want)
		}
		b.Release()
	}
}

func BenchmarkTry(b *testing.B) {
	for _, m := range methods() {
		for _, packet := range []bool{false, true} {
			name := m.String() + "/stream"
			if packet {
				name = m.String() + "/packet"
			}
			b.Run(name, func(b *testing.B) {
				const users = 10_000
				keys := make([]*Key, users)
				for i := range keys {
					keys[i] = NewKey(m, string(random(9)))
				}
				trial, datagram, plain := NewTrial(m), random(1200), make([]byte, 1200)
				b.ReportAllocs()
				for b.Loop() {
					rand.Read(datagram[:64])
					if packet {
						trial.BeginPacket(datagram, plain)
					} else {
						trial.BeginStream(datagram)
					}
					for _, k := range keys {
						if _, _, ok := trial.Try(k); ok {
							b.Fatal("taken")
						}
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/users, "ns/user")
			})
		}
	}
}

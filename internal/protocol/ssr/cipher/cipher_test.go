package cipher

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"testing"

	"heki/internal/protocol/ssr/ssrtest"
)

func TestKey(t *testing.T) {
	for _, v := range ssrtest.Load(t).Keys {
		if got := Key(v.Password, v.KeyLen); !bytes.Equal(got, v.Key) {
			t.Errorf("%q, %d bytes: %x, want %x", v.Password, v.KeyLen, got, v.Key)
		}
	}
}

// method finds a method and checks the table against the vector.
func method(t testing.TB, v ssrtest.Cipher) Method {
	t.Helper()
	m, ok := ByName(v.Method)
	if !ok || m.KeySize != len(v.Key) || m.IVSize != len(v.IV)+len(v.Salt) {
		t.Fatalf("%s: %+v", v.Method, m)
	}
	return m
}

func TestStreams(t *testing.T) {
	for _, v := range ssrtest.Load(t).Streams {
		t.Run(v.Method, func(t *testing.T) {
			m := method(t, v)
			enc, got := m.Encrypter(v.Key, v.IV), bytes.Clone(v.IV)
			var plain []byte
			for _, chunk := range v.Chunks {
				out := make([]byte, len(chunk))
				enc.XOR(out, chunk)
				got, plain = append(got, out...), append(plain, chunk...)
			}
			if !bytes.Equal(got, v.TCPWire) {
				t.Errorf("encrypted %x, want %x", got, v.TCPWire)
			}
			for cut := range len(plain) {
				back := bytes.Clone(v.TCPWire[len(v.IV):])
				dec := m.Decrypter(v.Key, v.IV)
				dec.XOR(back[:cut], back[:cut])
				dec.XOR(back[cut:], back[cut:])
				if !bytes.Equal(back, plain) {
					t.Fatalf("cut at %d: decrypted %x, want %x", cut, back, plain)
				}
			}
			testDatagram(t, m, v)
		})
	}
}

// testDatagram opens and makes the datagram of the vector, twice: nothing is kept.
func testDatagram(t *testing.T, m Method, v ssrtest.Cipher) {
	t.Helper()
	d := m.Datagrams(v.Key)
	for range 2 {
		wire := bytes.Clone(v.UDPWire)
		got, err := d.Open(wire)
		if err != nil || !bytes.Equal(got, v.UDPPlain) {
			t.Errorf("datagram: %x, %v, want %x", got, err, v.UDPPlain)
		}
		b := append(make([]byte, d.Front()), v.UDPPlain...)
		b = append(b, make([]byte, d.Rear())...)
		if err := d.Seal(b, bytes.NewReader(v.UDPWire)); err != nil || !bytes.Equal(b, v.UDPWire) {
			t.Errorf("made %x, %v, want %x", b, err, v.UDPWire)
		}
	}
	for n := range d.Front() + d.Rear() {
		if _, err := d.Open(bytes.Clone(v.UDPWire[:n])); !errors.Is(err, ErrShort) {
			t.Errorf("%d bytes: %v, want ErrShort", n, err)
		}
	}
}

func TestAEAD(t *testing.T) {
	for _, v := range ssrtest.Load(t).AEAD {
		t.Run(v.Method, func(t *testing.T) {
			m := method(t, v)
			enc, got := m.Records(v.Key, v.Salt), bytes.Clone(v.Salt)
			var plain []byte
			for _, chunk := range v.Chunks {
				got, plain = append(got, seal(enc, chunk)...), append(plain, chunk...)
			}
			if !bytes.Equal(got, v.TCPWire) {
				t.Errorf("encrypted %x, want %x", got, v.TCPWire)
			}
			for _, step := range []int{1, 7, len(got)} { // whatever the segments
				back, err := openIn(m.Records(v.Key, v.Salt), v.TCPWire[len(v.Salt):], step)
				if err != nil || !bytes.Equal(back, plain) {
					t.Errorf("step %d: %x, %v, want %x", step, back, err, plain)
				}
			}
			for i := range v.TCPWire[len(v.Salt):] {
				bad := bytes.Clone(v.TCPWire[len(v.Salt):])
				bad[i] ^= 1
				if back, err := openIn(m.Records(v.Key, v.Salt), bad, len(bad)); !errors.Is(err, ErrOpen) || !bytes.HasPrefix(plain, back) {
					t.Fatalf("byte %d changed: %v", i, err)
				}
			}
			testDatagram(t, m, v)
		})
	}
}

func seal(r *Records, payload []byte) []byte {
	b := make([]byte, RecordFront+len(payload)+RecordRear)
	copy(b[RecordFront:], payload)
	r.Seal(b)
	return b
}

// openIn feeds wire in steps of n bytes.
func openIn(r *Records, wire []byte, n int) (plain []byte, err error) {
	var b []byte
	for len(wire) > 0 {
		k := min(n, len(wire))
		b, wire = append(b, wire[:k]...), wire[k:]
		payload, used, err := r.Open(b)
		plain = append(plain, b[:payload]...)
		if err != nil {
			return plain, err
		}
		b = b[used:]
	}
	return plain, nil
}

// TestChaChaCarries goes over the border of 2^32 blocks, as the second half of a counter of 64 bits.
func TestChaChaCarries(t *testing.T) {
	key := make([]byte, 32)
	c, _ := newChaCha(key, false).(*chacha)
	c.reset(make([]byte, 8))
	c.left = 64 // as after 256 GiB but for one block
	got := make([]byte, 192)
	c.XOR(got, got)
	want := make([]byte, 128)
	next, _ := newChaCha(key, false).(*chacha)
	next.reset(make([]byte, 8))
	binary.LittleEndian.PutUint32(next.nonce[:], 1)
	next.begin()
	next.XOR(want, want)
	if !bytes.Equal(got[64:], want) {
		t.Errorf("after the border %x, want %x", got[64:], want)
	}
}

// TestShortCTR holds the CTR of datagrams against the library's, over a carry.
func TestShortCTR(t *testing.T) {
	key, iv := make([]byte, 16), bytes.Repeat([]byte{0xff}, 16)
	iv[0], iv[15] = 0, 0xfe
	a, b := newShortCTR(key, false), newAESCTR(key, false)
	a.reset(iv)
	b.reset(iv)
	x, y := make([]byte, 100), make([]byte, 100)
	a.XOR(x, x)
	b.XOR(y, y)
	if !bytes.Equal(x, y) {
		t.Errorf("%x, want %x", x, y)
	}
}

func TestNoAllocations(t *testing.T) {
	for _, name := range Names() {
		m, _ := ByName(name)
		key, b := make([]byte, m.KeySize), make([]byte, 1500)
		if !m.AEAD {
			d := m.Datagrams(key)
			if n := testing.AllocsPerRun(100, func() {
				_ = d.Seal(b, rand.Reader)
				_, _ = d.Open(b)
			}); n != 0 && !racing {
				t.Errorf("%s: %v allocations for a datagram", name, n)
			}
			s := m.Encrypter(key, make([]byte, m.IVSize))
			if n := testing.AllocsPerRun(100, func() { s.XOR(b, b) }); n != 0 {
				t.Errorf("%s: %v allocations for a chunk", name, n)
			}
			continue
		}
		r, w := m.Records(key, make([]byte, m.IVSize)), m.Records(key, make([]byte, m.IVSize))
		if n := testing.AllocsPerRun(100, func() {
			w.Seal(b)
			if _, _, err := r.Open(b); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations for a record", name, n)
		}
	}
}

func FuzzRecords(f *testing.F) {
	m, _ := ByName("aes-128-gcm")
	key, salt := make([]byte, m.KeySize), make([]byte, m.IVSize)
	f.Add(seal(m.Records(key, salt), []byte("hello")), 3)
	f.Fuzz(func(t *testing.T, in []byte, n int) {
		one, err1 := openIn(m.Records(key, salt), in, max(len(in), 1))
		two, err2 := openIn(m.Records(key, salt), in, max(n%1000, 1))
		if !bytes.Equal(one, two) || errors.Is(err1, ErrOpen) != errors.Is(err2, ErrOpen) {
			t.Errorf("whole: %d bytes, %v; in parts: %d bytes, %v", len(one), err1, len(two), err2)
		}
	})
}

func FuzzDatagram(f *testing.F) {
	m, _ := ByName("aes-128-gcm")
	d := m.Datagrams(make([]byte, m.KeySize))
	ok := make([]byte, d.Front()+5+d.Rear())
	if err := d.Seal(ok, rand.Reader); err != nil {
		f.Fatal(err)
	}
	f.Add(ok)
	f.Fuzz(func(t *testing.T, in []byte) {
		b := bytes.Clone(in)
		payload, err := d.Open(b)
		if err != nil {
			return
		}
		again := append(append(make([]byte, d.Front()), payload...), make([]byte, d.Rear())...)
		if err := d.Seal(again, bytes.NewReader(in)); err != nil || !bytes.Equal(again, in) {
			t.Errorf("opened, and made %x, %v, of %x", again, err, in)
		}
	})
}

func BenchmarkStream(b *testing.B) { // 0 allocs
	for _, name := range Names() {
		m, _ := ByName(name)
		if m.AEAD {
			continue
		}
		b.Run(name, func(b *testing.B) {
			s, p := m.Decrypter(make([]byte, m.KeySize), make([]byte, m.IVSize)), make([]byte, 16<<10)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				s.XOR(p, p)
			}
		})
	}
}

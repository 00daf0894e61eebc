package vmess

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/sagernet/sing/common/buf"

	"heki/internal/protocol/wire/wiretest"
)

// rounds are what benchmarks run: what clients send by default, and what costs most.
func rounds() []variant {
	way := func(security Security, options Options) Session {
		s := Session{Request: testRequest()}
		s.Security, s.Options = security, options
		return s
	}
	return []variant{
		{"gcm", way(SecurityGCM, masked)},
		{"gcm-padding", way(SecurityGCM, padded)},
		{"gcm-authlen", way(SecurityGCM, sealed)},
		{"chacha", way(SecurityChaCha, masked)},
		{"none", way(SecurityNone, masked)},
		{"cfb", way(SecurityLegacy, OptionChunkStream)},
	}
}

// chunkOf returns a reader of the client's chunk of n bytes again and again, on a body that has no
// state: the counters are set back before each.
func readAgain(s Session, n int) func() (int, error) {
	b := newBody(&s, s.Key, s.IV)
	b.lengths.mask, b.lengths.pad = false, false
	p := payload(n)
	chunk := make([]byte, n+100)
	chunk = chunk[:b.seal(chunk, p, 0)]
	pool := new(testPool)
	c := NewServerConn(newDeep(&wiretest.Cycle{B: chunk}), s, pool)
	key := s
	return func() (int, error) {
		c.r.nonces.n, c.r.aeadNonces.n = 0, 0
		c.r.lengths.mask, c.r.lengths.pad = false, false
		if c.r.cfb != nil {
			c.r.cfb.Reset(key.IV)
		}
		c.r.packets = true // one chunk each: the next has the same nonce
		b, err := c.WaitReadBuffer()
		if err != nil {
			return 0, err
		}
		n := b.Len()
		pool.Put(b)
		return n, nil
	}
}

func writeAgain(s Session, n int) func() error {
	pool := new(testPool)
	c := NewServerConn(wiretest.NewDiscard(strings.NewReader("")), s, pool)
	b := buf.With(make([]byte, testRoom+n+testRoom))
	return func() error {
		b.Resize(testRoom, n)
		return c.WriteBuffer(b)
	}
}

const relayed = 32 << 10

func TestNoAllocations(t *testing.T) {
	for _, v := range rounds() {
		for _, n := range []int{100, 1400, maxChunk, relayed} {
			write := writeAgain(v.s, n)
			if allocs := testing.AllocsPerRun(50, func() {
				if err := write(); err != nil {
					t.Fatal(err)
				}
			}); allocs > 0 {
				t.Errorf("%s: %v allocations for a write of %d bytes", v.name, allocs, n)
			}
		}
		for _, n := range []int{100, 1400, maxChunk, 50_000} {
			read := readAgain(v.s, n)
			if allocs := testing.AllocsPerRun(50, func() {
				if m, err := read(); m != n || err != nil {
					t.Fatal(m, err)
				}
			}); allocs > 0 {
				t.Errorf("%s: %v allocations for a chunk of %d bytes", v.name, allocs, n)
			}
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, v := range rounds() {
		b.Run(v.name, func(b *testing.B) {
			write := writeAgain(v.s, relayed)
			b.SetBytes(relayed)
			b.ReportAllocs()
			for b.Loop() {
				if err := write(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, v := range rounds() {
		b.Run(v.name, func(b *testing.B) {
			read := readAgain(v.s, maxChunk)
			b.SetBytes(maxChunk)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAuthID is what one wrong user costs.
func BenchmarkAuthID(b *testing.B) {
	block := NewAuthIDCipher(CmdKey(goldenUUID))
	var id, plain [AuthIDSize]byte
	rand.Read(id[:])
	b.ReportAllocs()
	for b.Loop() {
		OpenAuthID(block, id[:], &plain)
	}
}

func BenchmarkKDF(b *testing.B) {
	key := CmdKey(goldenUUID)
	id, nonce := strings.Repeat("a", 16), strings.Repeat("b", 8)
	b.ReportAllocs()
	for b.Loop() {
		KDF16(key[:], headerKeyText, id, nonce)
	}
}

// BenchmarkServerConn is the setup of a connection and its first answer.
func BenchmarkServerConn(b *testing.B) {
	s := Session{Request: testRequest()}
	fake := wiretest.NewDiscard(strings.NewReader(""))
	pool := new(testPool)
	p := []byte("HTTP/1.1 200 OK")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewServerConn(fake, s, pool).Write(p); err != nil {
			b.Fatal(err)
		}
	}
}

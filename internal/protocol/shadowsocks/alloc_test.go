package shadowsocks

import (
	"testing"

	"github.com/sagernet/sing/common/buf"

	"heki/internal/protocol/wire/wiretest"
)

// A chunk costs no allocation, neither sealed in place nor opened.
func TestChunkAllocs(t *testing.T) {
	for _, m := range methods() {
		k, salt := NewKey(m, "password"), random(m.KeySize())
		c := NewConn(wiretest.NewDiscard(nil), nil, m.newHalf(k, salt), Preface{}, nil)
		in := m.newHalf(k, salt)
		b := buf.With(make([]byte, 300+1400))
		n := testing.AllocsPerRun(100, func() {
			b.Reset()
			b.Resize(100, 1400)
			if err := c.WriteBuffer(b); err != nil {
				t.Fatal(err)
			}
			sealed := b.Bytes()
			length, err := in.Length(sealed[:sealedLength])
			if err != nil || length != 1400+TagSize {
				t.Fatal(length, err)
			}
			if _, err := in.Open(sealed[sealedLength:], sealed[sealedLength:]); err != nil {
				t.Fatal(err)
			}
		})
		if n > 0 && !raceEnabled {
			t.Errorf("%s: %v allocations a chunk", m, n)
		}
	}
}

package vmess

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"heki/internal/protocol/wire/wiretest"
)

// fuzzSession is one of all the ways to carry a body.
func fuzzSession(way uint8) Session {
	all := variants()
	return all[int(way)%len(all)].s
}

// What a reader makes of any bytes does not depend on how far it can look ahead, nor on how they
// arrive; it is never more than they are.
func FuzzReader(f *testing.F) {
	for i, v := range variants() {
		f.Add(uint8(i), []byte(encodeRaw(v.s, []byte("hello"), 3)), uint16(7))
	}
	f.Fuzz(func(t *testing.T, way uint8, in []byte, step uint16) {
		s := fuzzSession(way)
		one, err1 := io.ReadAll(NewServerConn(shallow(bytes.NewReader(in)), s, new(testPool)))
		cut := &steps{r: bytes.NewReader(in), n: int(step) + 1}
		two, err2 := io.ReadAll(NewServerConn(newDeep(cut), s, new(testPool)))
		if !bytes.Equal(one, two) || (err1 == nil) != (err2 == nil) {
			t.Errorf("%d bytes, %v and %d bytes, %v", len(one), err1, len(two), err2)
		}
		if len(one) > len(in) {
			t.Errorf("%d bytes out of %d", len(one), len(in))
		}
	})
}

// steps reads n bytes at a time.
type steps struct {
	r io.Reader
	n int
}

func (s *steps) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), s.n)]) }

// encodeRaw is encode without the checks.
func encodeRaw(s Session, p []byte, size int) string {
	fake := wiretest.New(strings.NewReader(""))
	c := NewClientConn(fake, s, nil, nil)
	for len(p) > 0 {
		n := min(size, len(p))
		_, _ = c.Write(p[:n])
		p = p[n:]
	}
	_ = c.CloseWrite()
	return strings.Join(fake.Writes(), "")
}

// What is written comes back, however it is cut.
func FuzzRoundTrip(f *testing.F) {
	f.Add(uint8(3), []byte("hello"), uint16(2), uint16(3))
	f.Fuzz(func(t *testing.T, way uint8, p []byte, size, step uint16) {
		s := fuzzSession(way)
		p = bytes.Repeat(p, 1+int(size)%500)
		p = p[:min(len(p), 100_000)]
		up := encodeRaw(s, p, int(size)%50_000+1)
		in := &steps{r: strings.NewReader(up), n: int(step) + 1}
		if got, err := io.ReadAll(NewServerConn(newDeep(in), s, nil)); !bytes.Equal(got, p) || err != nil {
			t.Errorf("%d bytes of %d, %v", len(got), len(p), err)
		}
	})
}

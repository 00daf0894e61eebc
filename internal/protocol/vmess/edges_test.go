package vmess

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/sagernet/sing/common/buf"

	"heki/internal/protocol/wire/wiretest"
)

// Nonces have 16 bits and begin again.
func TestCounterWraps(t *testing.T) {
	s := Session{Request: testRequest()}
	s.Options = sealed
	key, iv := s.responseKeys()
	in, out := newBody(&s, key, iv), newBody(&s, key, iv)
	b, plain := make([]byte, 200), make([]byte, 200)
	for i := range 1<<16 + 3 {
		p := []byte{byte(i), byte(i >> 8), byte(i >> 16)}
		n := out.seal(b, p, out.padding())
		total, pad, err := in.length(b[:in.size()])
		if err != nil || total != n-in.size() {
			t.Fatalf("chunk %d: %d bytes, %v", i, total, err)
		}
		if got, err := in.open(plain, b[in.size():n], pad); err != nil || !bytes.Equal(got, p) {
			t.Fatalf("chunk %d: %x, %v", i, got, err)
		}
	}
}

// A chunk may be as long as its length can say.
func TestLargestChunk(t *testing.T) {
	for _, v := range variants() {
		if !newLargest(v.s).chunked {
			continue
		}
		b := newLargest(v.s)
		pad := b.padding()
		p := payload(b.most() - b.overhead() - pad)
		chunk := make([]byte, b.size()+b.most())
		if n := b.seal(chunk, p, pad); n != len(chunk) {
			t.Fatalf("%s: %d bytes, want %d", v.name, n, len(chunk))
		}
		for name, source := range sources() {
			c := NewServerConn(source(bytes.NewReader(chunk)), v.s, new(testPool))
			if got, err := io.ReadAll(c); !bytes.Equal(got, p) || err != nil {
				t.Errorf("%s, %s: %d bytes of %d, %v", v.name, name, len(got), len(p), err)
			}
		}
	}
}

func newLargest(s Session) body { return newBody(&s, s.Key, s.IV) }

// A stream that ends inside a chunk is an error, after a chunk it is the end, and what is changed on
// the way does not open.
func TestBrokenStreams(t *testing.T) {
	for _, v := range variants() {
		b := newLargest(v.s)
		if !b.chunked {
			continue
		}
		chunk := make([]byte, 300)
		chunk = chunk[:b.seal(chunk, []byte("hello"), b.padding())]
		for i := range chunk {
			c := NewServerConn(newDeep(bytes.NewReader(chunk[:i])), v.s, new(testPool))
			want := io.ErrUnexpectedEOF
			if i == 0 {
				want = io.EOF
			}
			if _, err := c.Read(make([]byte, 10)); err != want {
				t.Fatalf("%s: %d bytes of a chunk: %v, want %v", v.name, i, err, want)
			}
		}
		if b.aead == nil {
			continue
		}
		pad := len(chunk) - b.size() - len("hello") - tagSize
		for i := range 8 * (len(chunk) - pad) {
			bad := bytes.Clone(chunk)
			bad[i/8] ^= 1 << (i % 8)
			c := NewServerConn(newDeep(bytes.NewReader(bad)), v.s, new(testPool))
			if got, err := io.ReadAll(c); len(got) > 0 || err == nil {
				t.Fatalf("%s: bit %d flipped: %q, %v", v.name, i, got, err)
			}
		}
	}
}

// Xray's client sends an empty chunk first when its user is silent, and goes on after it.
func TestEmptyFirstChunk(t *testing.T) {
	for _, v := range variants() {
		b := newLargest(v.s)
		if !b.chunked || v.s.Command != CommandTCP {
			continue
		}
		up := encodeAfterEmpty(t, v.s, []byte("hello"))
		for name, source := range sources() {
			c := NewServerConn(source(strings.NewReader(up)), v.s, nil)
			if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
				t.Errorf("%s, %s: %q, %v", v.name, name, got, err)
			}
		}
	}
}

// encodeAfterEmpty is what a client sends: an empty chunk, p, the end.
func encodeAfterEmpty(t *testing.T, s Session, p []byte) string {
	t.Helper()
	fake := wiretest.New(strings.NewReader(""))
	c := NewClientConn(fake, s, []byte("head"), new(testPool))
	c.w.mu.Lock()
	if err := c.w.burstLocked(nil, 1); err != nil {
		t.Fatal(err)
	}
	c.w.mu.Unlock()
	if _, err := c.Write(p); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(strings.Join(fake.Writes(), ""), "head")
}

// An empty chunk ends the stream whatever follows, and writes after the end fail.
func TestEnd(t *testing.T) {
	for _, v := range variants() {
		b := newLargest(v.s)
		if !b.chunked || v.s.Command != CommandTCP {
			continue
		}
		up := encode(t, v.s, []byte("hello"), 5)
		for name, source := range sources() {
			c := NewServerConn(source(strings.NewReader(up+"more of it")), v.s, nil)
			if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
				t.Errorf("%s, %s: %q, %v", v.name, name, got, err)
			}
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%s, %s: after the end: %v", v.name, name, err)
			}
		}
		c := NewServerConn(shallow(strings.NewReader("")), v.s, nil)
		for range 2 {
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
		}
		if _, err := c.Write([]byte("x")); err != io.ErrClosedPipe {
			t.Errorf("%s: a write after the end: %v", v.name, err)
		}
		if err := c.WriteBuffer(buf.As([]byte("x"))); err != io.ErrClosedPipe {
			t.Errorf("%s: a buffer after the end: %v", v.name, err)
		}
	}
}

// pauses times out between any two bytes.
type pauses struct {
	r    io.Reader
	late bool
}

func (p *pauses) Read(b []byte) (int, error) {
	if p.late = !p.late; p.late {
		return 0, os.ErrDeadlineExceeded
	}
	return p.r.Read(b[:min(len(b), 700)])
}

// A read deadline loses nothing, wherever it strikes.
func TestDeadlines(t *testing.T) {
	p := payload(150_000)
	for _, v := range variants() {
		if v.s.Command != CommandTCP {
			continue
		}
		b := newLargest(v.s)
		up := make([]byte, 0, 200_000)
		if b.chunked {
			for rest := p; len(rest) > 0; {
				n := min(len(rest), 50_000)
				pad := b.padding()
				chunk := make([]byte, b.size()+b.overhead()+n+pad)
				b.seal(chunk, rest[:n], pad)
				up, rest = append(up, chunk...), rest[n:]
			}
		} else {
			up = []byte(encode(t, v.s, p, len(p)))
		}
		c := NewServerConn(newDeep(&pauses{r: bytes.NewReader(up)}), v.s, new(testPool))
		got, err := readPatiently(c)
		if !bytes.Equal(got, p) || err != io.EOF {
			t.Errorf("%s: %d bytes of %d, %v", v.name, len(got), len(p), err)
		}
		c.Drop()
	}
}

func readPatiently(r io.Reader) ([]byte, error) {
	var all []byte
	b := make([]byte, 3000)
	for {
		n, err := r.Read(b)
		all = append(all, b[:n]...)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return all, err
		}
	}
}

func TestChunkSizes(t *testing.T) {
	s := Session{Request: testRequest()}
	w := &writer{body: newLargest(s)}
	for _, n := range []int{1, maxChunk, maxChunk + 1, 32 << 10, 64 << 10} {
		chunks := w.chunks(n)
		if most := (n + chunks - 1) / chunks; most > maxChunk || chunks > 1 && n/(chunks-1) <= maxChunk-1 {
			t.Errorf("%d bytes are %d chunks", n, chunks)
		}
	}
}

func TestCFB(t *testing.T) {
	key, iv := [16]byte{1}, [16]byte{2}
	p := payload(1000)
	whole := bytes.Clone(p)
	newCFB(key, iv).Encrypt(whole, whole)
	enc, dec := newCFB(key, iv), newCFB(key, iv)
	var parts, back []byte
	for n, rest := 1, p; len(rest) > 0; n++ {
		n := min(n, len(rest))
		c := make([]byte, n)
		enc.Encrypt(c, rest[:n])
		parts = append(parts, c...)
		dec.Decrypt(c, c)
		back = append(back, c...)
		rest = rest[n:]
	}
	if !bytes.Equal(parts, whole) || !bytes.Equal(back, p) {
		t.Error("in parts it is another stream")
	}
}

package vmess

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/sagernet/sing/common/buf"

	"heki/internal/protocol/wire"
	"heki/internal/protocol/wire/wiretest"
)

// deep is a connection whose source shows what it holds, as netio.Conn does.
type deep struct {
	*wiretest.Fake
	r *bufio.Reader
}

func newDeep(in io.Reader) *deep {
	return &deep{wiretest.New(strings.NewReader("")), bufio.NewReaderSize(in, deepPeek)}
}

func (d *deep) Read(p []byte) (int, error) { return d.r.Read(p) }
func (d *deep) Peek(n int) ([]byte, error) { return d.r.Peek(n) }
func (d *deep) Discard(n int) (int, error) { return d.r.Discard(n) }
func (d *deep) Buffered() []byte           { b, _ := d.r.Peek(d.r.Buffered()); return b }
func shallow(in io.Reader) wire.Conn       { return wiretest.New(in) }
func deeper(in io.Reader) wire.Conn        { return newDeep(in) }
func sources() map[string]func(io.Reader) wire.Conn {
	return map[string]func(io.Reader) wire.Conn{"shallow": shallow, "deep": deeper}
}

// testPool counts what is out.
type testPool struct {
	mu   sync.Mutex
	free []*buf.Buffer
	out  int
}

const testRoom = 256

func (p *testPool) Get(n int) *buf.Buffer {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out++
	if len(p.free) == 0 {
		p.free = append(p.free, buf.With(make([]byte, 2*testRoom+(80<<10))))
	}
	b := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	b.Reset()
	b.Resize(testRoom, 0)
	b.Reserve(testRoom)
	if n > b.FreeLen() {
		panic(fmt.Sprintf("%d bytes asked for", n))
	}
	return b
}

func (p *testPool) Put(b *buf.Buffer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out--
	p.free = append(p.free, b)
}

type variant struct {
	name string
	s    Session
}

// variants are all ways to carry a body.
func variants() []variant {
	var all []variant
	for _, security := range []Security{SecurityGCM, SecurityChaCha, SecurityNone, SecurityLegacy} {
		for options := range Options(0x20) {
			for _, command := range []Command{CommandTCP, CommandUDP} {
				s := Session{Request: testRequest()}
				s.Security, s.Options, s.Command = security, options, command
				if options&0x02 != 0 || s.check() != nil {
					continue
				}
				s.Legacy = len(all)%3 == 0
				all = append(all, variant{fmt.Sprintf("%s options %02x command %d", security, uint8(options), command), s})
			}
		}
	}
	return all
}

// payload is a stream to carry: short and long writes.
func payload(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// encode returns what the client sends after its request: p in writes of those sizes, the last again and again.
func encode(t testing.TB, s Session, p []byte, sizes ...int) string {
	t.Helper()
	fake := wiretest.New(strings.NewReader(""))
	c := NewClientConn(fake, s, []byte("head"), new(testPool))
	for len(p) > 0 {
		n := min(sizes[0], len(p))
		if len(sizes) > 1 {
			sizes = sizes[1:]
		}
		if m, err := c.Write(p[:n]); err != nil || m != n {
			t.Fatal(m, err)
		}
		p = p[n:]
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if !fake.HalfClosed() {
		t.Error("no half-close below")
	}
	wire, ok := strings.CutPrefix(strings.Join(fake.Writes(), ""), "head")
	if !ok {
		t.Error("the head does not come first")
	}
	return wire
}

func TestStreams(t *testing.T) {
	p := payload(200_000)
	for _, v := range variants() {
		if v.s.Command != CommandTCP {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			up := encode(t, v.s, p, 1, 0xff, maxChunk, maxChunk+1, 70_000)
			for name, source := range sources() {
				for _, in := range []io.Reader{strings.NewReader(up), iotest.HalfReader(strings.NewReader(up))} {
					c := NewServerConn(source(in), v.s, new(testPool))
					if got, err := io.ReadAll(c); !bytes.Equal(got, p) || err != nil {
						t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(p), err)
					}
				}
			}
			testAnswer(t, v.s, p)
		})
	}
}

// testAnswer sends p from the server to the client, in buffers with and without room around them.
func testAnswer(t *testing.T, s Session, p []byte) {
	pool := new(testPool)
	fake := wiretest.New(strings.NewReader(""))
	server := NewServerConn(fake, s, pool)
	for i, sent := 0, 0; sent < len(p); i++ {
		n := min([]int{10, 1000, maxChunk, 32 << 10}[i%4], len(p)-sent)
		front, rear := testRoom*(i/4%2), testRoom*(i/8%2)
		b := buf.NewSize(front + n + rear)
		b.Resize(front, 0)
		b.Write(p[sent : sent+n])
		if err := server.WriteBuffer(b); err != nil {
			t.Fatal(err)
		}
		sent += n
		if writes := len(fake.Writes()); writes != i+1 {
			t.Fatalf("%d writes for %d buffers", writes, i+1)
		}
	}
	if err := server.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if pool.out != 0 {
		t.Errorf("%d buffers are out", pool.out)
	}
	client := NewClientConn(newDeep(strings.NewReader(strings.Join(fake.Writes(), ""))), s, nil, pool)
	var got []byte
	for {
		b, err := client.WaitReadBuffer()
		if err != nil {
			if err != io.EOF {
				t.Error(err)
			}
			break
		}
		if b.IsEmpty() || b.Start() < testRoom || b.FreeLen() < testRoom {
			t.Fatalf("a buffer of %d bytes at %d, %d free", b.Len(), b.Start(), b.FreeLen())
		}
		got = append(got, b.Bytes()...)
		pool.Put(b)
	}
	if !bytes.Equal(got, p) {
		t.Errorf("%d bytes of %d came back", len(got), len(p))
	}
	if pool.out != 0 {
		t.Errorf("%d buffers are out", pool.out)
	}
}

func TestResponseIsChecked(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		s := Session{Request: testRequest(), Legacy: legacy}
		fake := wiretest.New(strings.NewReader(""))
		if _, err := NewServerConn(fake, s, nil).Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
		answer := strings.Join(fake.Writes(), "")
		for i := range answer {
			c := NewClientConn(shallow(strings.NewReader(answer[:i])), s, nil, nil)
			got, err := io.ReadAll(c)
			whole := i == 0 || i == headOf(s) // between frames the end is an end
			if len(got) > 0 || (err == nil) != whole {
				t.Errorf("answer of %d bytes: %q, %v", i, got, err)
			}
		}
		s.Response++
		c := NewClientConn(shallow(strings.NewReader(answer)), s, nil, nil)
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, ErrBadRequest) {
			t.Errorf("an answer to another request: %v", err)
		}
	}
}

// headOf is the length of the response header.
func headOf(s Session) int {
	if s.Legacy {
		return responseHeader
	}
	return sealedResponse
}

func TestResponseCommandIsSkipped(t *testing.T) {
	s := Session{Request: testRequest(), Legacy: true}
	s.Security, s.Options = SecurityLegacy, OptionChunkStream
	key, iv := s.responseKeys()
	out := newBody(&s, key, iv)
	head := []byte{s.Response, 0, 1, 3, 'a', 'b', 'c'}
	out.cfb.encrypt(head, head)
	chunk := make([]byte, 100)
	chunk = chunk[:out.seal(chunk, []byte("hello"), out.padding())]
	c := NewClientConn(shallow(io.MultiReader(bytes.NewReader(head), bytes.NewReader(chunk))), s, nil, nil)
	if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// The header goes out with the first write, and alone when the stream ends without one.
func TestFirstWrite(t *testing.T) {
	for _, v := range variants() {
		fake := wiretest.New(strings.NewReader(""))
		c := NewServerConn(fake, v.s, nil)
		if !c.NeedHandshakeForWrite() || c.WriterReplaceable() {
			t.Errorf("%s: begins with a header that is out", v.name)
		}
		front := c.FrontHeadroom()
		if _, err := c.Write([]byte("hello")); err != nil || len(fake.Writes()) != 1 {
			t.Errorf("%s: %d writes, %v", v.name, len(fake.Writes()), err)
		}
		if c.NeedHandshakeForWrite() || c.WriterReplaceable() != c.w.raw() || c.FrontHeadroom() != front-headOf(v.s) {
			t.Errorf("%s: the header is out, headroom %d after %d", v.name, c.FrontHeadroom(), front)
		}
		fake = wiretest.New(strings.NewReader(""))
		if err := NewServerConn(fake, v.s, nil).CloseWrite(); err != nil || len(fake.Writes()) != 1 {
			t.Errorf("%s: an empty answer is %d writes, %v", v.name, len(fake.Writes()), err)
		}
		c = NewServerConn(fake, v.s, nil)
		broken := errors.New("broken")
		fake.FailWrites(broken)
		if _, err := c.Write([]byte("hello")); err != broken {
			t.Errorf("%s: err = %v", v.name, err)
		}
	}
}

func TestZeroIsReplaceable(t *testing.T) {
	s := Session{Request: testRequest()}
	s.Security, s.Options = SecurityNone, 0
	c := NewServerConn(newDeep(strings.NewReader("raw")), s, nil)
	if !c.ReaderReplaceable() {
		t.Error("the reader stands in the way")
	}
	if got, err := io.ReadAll(c); string(got) != "raw" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	client := NewClientConn(newDeep(strings.NewReader("")), s, nil, nil)
	if client.ReaderReplaceable() {
		t.Error("the response header is not read yet")
	}
}

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
	newCFB(key, iv).encrypt(whole, whole)
	enc, dec := newCFB(key, iv), newCFB(key, iv)
	var parts, back []byte
	for n, rest := 1, p; len(rest) > 0; n++ {
		n := min(n, len(rest))
		c := make([]byte, n)
		enc.encrypt(c, rest[:n])
		parts = append(parts, c...)
		dec.decrypt(c, c)
		back = append(back, c...)
		rest = rest[n:]
	}
	if !bytes.Equal(parts, whole) || !bytes.Equal(back, p) {
		t.Error("in parts it is another stream")
	}
}

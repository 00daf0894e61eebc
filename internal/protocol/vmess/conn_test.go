package vmess

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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
	return &deep{wiretest.New(strings.NewReader("")), bufio.NewReaderSize(in, plainMost)}
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
	out.cfb.Encrypt(head, head)
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

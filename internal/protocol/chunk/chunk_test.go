package chunk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"

	"heki/internal/protocol/wire"
	"heki/internal/protocol/wire/wiretest"
)

// mark ends every chunk of the tests, in place of a tag.
const mark = 0x5a

var errMark = errors.New("no mark")

// plain is an Opener that decrypts nothing: u16be length of payload, payload, mark.
type plain struct{}

func (plain) Size() int { return 2 }

func (plain) Length(field []byte) (int, error) { return int(binary.BigEndian.Uint16(field)) + 1, nil }

func (plain) Open(dst, chunk []byte) ([]byte, error) {
	n := len(chunk) - 1
	if chunk[n] != mark {
		return nil, errMark
	}
	return dst[:copy(dst[:n], chunk)], nil
}

func stream(payloads ...[]byte) []byte {
	var b []byte
	for _, p := range payloads {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(p))), p...)
		b = append(b, mark)
	}
	return b
}

// sources are a connection that looks ahead a little and one that shows what it holds.
func sources() map[string]func(net.Conn) wire.Conn {
	return map[string]func(net.Conn) wire.Conn{
		"shallow": func(c net.Conn) wire.Conn { return wiretest.NewPeeker(c) },
		"deep":    func(c net.Conn) wire.Conn { return wiretest.NewDeep(c) },
	}
}

func reader(in io.Reader, source func(net.Conn) wire.Conn) *Reader {
	r := new(Reader)
	r.Init(source(wiretest.New(in)), plain{}, new(wire.SingPool))
	return r
}

func TestReader(t *testing.T) {
	parts := [][]byte{{}, []byte("a"), bytes.Repeat([]byte("long"), 16_000), nil, bytes.Repeat([]byte("b"), 5000), []byte("end")}
	in, want := stream(parts...), bytes.Join(parts, nil)
	for name, source := range sources() {
		for kind, from := range map[string]io.Reader{"whole": bytes.NewReader(in), "halves": iotest.HalfReader(bytes.NewReader(in)), "bytes": iotest.OneByteReader(bytes.NewReader(in))} {
			got, err := io.ReadAll(reader(from, source))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %s: %d bytes of %d, %v", name, kind, len(got), len(want), err)
			}
		}
	}
}

// Wherever a stream is cut, what came whole is delivered, and the end is told from the middle.
func TestReaderCut(t *testing.T) {
	in := stream([]byte("first"), []byte("second"))
	for name, source := range sources() {
		for n := range in {
			got, err := io.ReadAll(reader(bytes.NewReader(in[:n]), source))
			want, end := "", io.ErrUnexpectedEOF
			if n >= 8 {
				want = "first"
			}
			if n == 0 || n == 8 {
				end = nil
			}
			if string(got) != want || err != end {
				t.Errorf("%s, %d bytes: %q, %v", name, n, got, err)
			}
		}
		broken := bytes.Clone(in)
		broken[len(broken)-1] = 0
		r := reader(bytes.NewReader(broken), source)
		got, err := io.ReadAll(r)
		if string(got) != "first" || err != errMark {
			t.Errorf("%s, broken: %q, %v", name, got, err)
		}
		if _, err := r.Wait(); err != errMark {
			t.Errorf("%s: the error does not stay: %v", name, err)
		}
	}
}

func TestWaitChunk(t *testing.T) {
	for name, source := range sources() {
		r := reader(bytes.NewReader(append(append([]byte("fixed"), mark), stream(nil, []byte("chunk"), []byte("rest"))...)), source)
		r.Expect(len("fixed") + 1)
		for _, want := range []string{"fixed", "", "chunk"} {
			b, err := r.WaitChunk()
			if err != nil || string(b.Bytes()) != want {
				t.Fatalf("%s: %v, want %q", name, err, want)
			}
			if want == "chunk" {
				b.Advance(2)
				r.Unread(b)
				continue
			}
			b.Release()
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != "unkrest" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		r.Drop()
	}
}

// Whatever comes, nothing is delivered that no mark ends, and nothing panics.
func FuzzReader(f *testing.F) {
	f.Add(stream([]byte("first"), nil, []byte("second")))
	f.Fuzz(func(t *testing.T, in []byte) {
		var want []byte
		for rest := in; len(rest) >= 2; {
			n := int(binary.BigEndian.Uint16(rest))
			if len(rest) < 2+n+1 || rest[2+n] != mark {
				break
			}
			want, rest = append(want, rest[2:2+n]...), rest[2+n+1:]
		}
		for name, source := range sources() {
			got, _ := io.ReadAll(reader(bytes.NewReader(in), source))
			if !bytes.Equal(got, want) {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	})
}

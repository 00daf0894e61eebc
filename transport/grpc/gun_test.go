package grpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// message writes the head of a message before fields.
func message(fields ...string) string {
	body := strings.Join(fields, "")
	return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))) + body
}

func hunk(data string) string {
	return "\x0a" + string(binary.AppendUvarint(nil, uint64(len(data)))) + data
}

// decodeAll decodes in pieces of n bytes; 0 is all at once.
func decodeAll(in []byte, n int) (out []byte, partial bool, err error) {
	var d decoder
	for len(in) > 0 {
		piece := in[:min(len(in), max(n, 1))]
		if n == 0 {
			piece = in
		}
		in = in[len(piece):]
		for len(piece) > 0 {
			m, data, err := d.next(piece)
			if err != nil {
				return out, d.partial(), err
			}
			if m == 0 {
				return out, true, errors.New("no progress")
			}
			out = append(out, data...)
			piece = piece[m:]
		}
	}
	return out, d.partial(), nil
}

func TestDecoder(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	for _, tt := range []struct {
		name, in, out string
		bad           bool
	}{
		{"hunk", message(hunk("abc")), "abc", false},
		{"two messages", message(hunk("abc")) + message(hunk("def")), "abcdef", false},
		{"empty message", message() + message(hunk("a")), "a", false},
		{"empty hunk", message(hunk("")) + message(hunk("a")), "a", false},
		{"multi", message(hunk("a"), hunk(""), hunk("bc")), "abc", false},
		{"long", message(hunk(long)), long, false},
		{"unknown bytes", message("\x12\x03xyz", hunk("a"), "\x1a\x00"), "a", false},
		{"unknown varint", message("\x10\xff\xff\x03", hunk("a"), "\x10\x01"), "a", false},
		{"unknown fixed", message("\x15abcd", hunk("a"), "\x11abcdefgh"), "a", false},
		{"padded length", message("\x0a\x81\x00a"), "a", false},
		{"compressed", "\x01\x00\x00\x00\x00", "", true},
		{"too long", "\x00\x7f\xff\xff\xff", "", true},
		{"field too long", message("\x0a\x05abc"), "", true},
		{"no length", message("\x0a"), "", true},
		{"group", message("\x0b"), "", true},
		{"endless varint", message("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "", true},
		{"cut varint", message("\x10\xff"), "", true},
		{"short fixed", message("\x15abc"), "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, n := range []int{0, 1, 2, 3, 7, 1000} {
				out, partial, err := decodeAll([]byte(tt.in), n)
				if errors.Is(err, ErrMessage) != tt.bad {
					t.Fatalf("pieces of %d: %v", n, err)
				}
				if err == nil && (string(out) != tt.out || partial) {
					t.Errorf("pieces of %d: %d bytes, partial %v", n, len(out), partial)
				}
			}
			if tt.bad {
				return
			}
			for i := range min(len(tt.in), 100) {
				if _, _, err := decodeAll([]byte(tt.in[:i]), 0); err != nil {
					t.Fatalf("prefix of %d bytes: %v", i, err)
				}
			}
		})
	}
}

// What appendHead writes is what Xray and sing-box write.
func TestHead(t *testing.T) {
	for _, n := range []int{1, 127, 128, 16 << 10, 32 << 10, 4 << 20} {
		data := strings.Repeat("x", n)
		if got := string(appendHead(nil, n)) + data; got != message(hunk(data)) {
			t.Errorf("%d bytes: head %x", n, appendHead(nil, n))
		}
	}
}

// Pieces make no difference, and what is written is read again.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte(message(hunk("a"), hunk("bc"), "\x10\x01")+message()), byte(1))
	f.Add([]byte(message("\x15abcd", hunk("a"))), byte(3))
	f.Fuzz(func(t *testing.T, in []byte, n byte) {
		whole, partial1, err1 := decodeAll(in, 0)
		pieces, partial2, err2 := decodeAll(in, int(n))
		if !bytes.Equal(whole, pieces) || errors.Is(err1, ErrMessage) != errors.Is(err2, ErrMessage) || err1 == nil && partial1 != partial2 {
			t.Errorf("%q in pieces of %d: %q, %v, want %q, %v", in, n, pieces, err2, whole, err1)
		}
		if err1 != nil && !errors.Is(err1, ErrMessage) {
			t.Error(err1)
		}
		again, partial, err := decodeAll(append(appendHead(nil, len(in)), in...), int(n))
		if !bytes.Equal(again, in) || partial || err != nil {
			t.Errorf("%q: written and read is %q, %v", in, again, err)
		}
	})
}

func BenchmarkDecoder(b *testing.B) {
	in := append(appendHead(nil, 16<<10), make([]byte, 16<<10)...)
	var d decoder
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		for at := 0; at < len(in); {
			n, _, err := d.next(in[at:])
			if err != nil {
				b.Fatal(err)
			}
			at += n
		}
	}
}

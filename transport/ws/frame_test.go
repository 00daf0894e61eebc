package ws

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestUnmask(t *testing.T) {
	for n := range 200 {
		for split := 0; split <= n; split += 1 + n/5 {
			checkUnmask(t, make([]byte, n), uint32(n)*0x01030507, split)
		}
	}
}

func FuzzUnmask(f *testing.F) {
	f.Add([]byte("hello"), uint32(0x01020304), 2)
	f.Fuzz(func(t *testing.T, b []byte, key uint32, split int) {
		if split >= 0 && split <= len(b) {
			checkUnmask(t, b, key, split)
		}
	})
}

// checkUnmask compares with the naive loop, in two pieces.
func checkUnmask(t *testing.T, b []byte, key uint32, split int) {
	t.Helper()
	want := bytes.Clone(b)
	for i := range want {
		want[i] ^= byte(key >> (8 * (i % 4)))
	}
	got := bytes.Clone(b)
	unmask(got[split:], unmask(got[:split], key))
	if !bytes.Equal(got, want) {
		t.Fatalf("length %d, split %d:\n got %x\nwant %x", len(b), split, got, want)
	}
}

func TestDecoder(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	for _, tt := range []struct {
		name, in, want string
		err            bool
	}{
		{"binary", string(frame(0x82, "hello")), "hello", false},
		{"text", string(frame(0x81, "hello")), "hello", false},
		{"empty", string(frame(0x82, "")) + string(frame(0x82, "a")), "a", false},
		{"fragments", string(frame(0x02, "a")) + string(frame(0x00, "b")) + string(frame(0x80, "c")), "abc", false},
		{"ping between", string(frame(0x02, "a")) + string(frame(0x89, "P")) + string(frame(0x80, "c")), "a<9:P>c", false},
		{"pong", string(frame(0x8a, "x")) + string(frame(0x8a, "")) + string(frame(0x82, "a")), "a", false},
		{"close", string(frame(0x82, "a")) + string(frame(0x88, "\x03\xe8bye")), "a<8:\x03\xe8bye>", false},
		{"16 bits", string(frame(0x82, long[:300])), long[:300], false},
		{"64 bits", string(frame(0x82, long)), long, false},
		{"unmasked", "\x82\x01a", "", true},
		{"reserved bit", string(frame(0xc2, "a")), "", true},
		{"opcode 3", string(frame(0x83, "a")), "", true},
		{"opcode b", string(frame(0x8b, "a")), "", true},
		{"fragmented ping", string(frame(0x09, "a")), "", true},
		{"long ping", string(frame(0x89, long[:126])), "", true},
		{"lone continuation", string(frame(0x80, "a")), "", true},
		{"message in message", string(frame(0x02, "a")) + string(frame(0x82, "b")), "a", true},
		{"too long", "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff1234", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, 2, 3, 7, 64, 1 << 20} {
				got, err := decodeAll([]byte(tt.in), func() int { return size })
				if got != tt.want || (err != nil) != tt.err {
					t.Fatalf("pieces of %d: %.80q, %v", size, got, err)
				}
				if err != nil && !errors.Is(err, ErrProtocol) {
					t.Errorf("err = %v", err)
				}
			}
		})
	}
}

// decodeAll runs the decoder over pieces and writes down what it finds.
func decodeAll(in []byte, size func() int) (string, error) {
	var d decoder
	var out strings.Builder
	for len(in) > 0 {
		n := min(len(in), size())
		piece := bytes.Clone(in[:n])
		in = in[n:]
		for len(piece) > 0 {
			m, found, data, err := d.next(piece)
			if err != nil {
				return out.String(), err
			}
			piece = piece[m:]
			switch found {
			case eventData:
				out.Write(data)
			case eventPing:
				out.WriteString("<9:" + string(data) + ">")
			case eventClose:
				out.WriteString("<8:" + string(data) + ">")
			}
		}
	}
	return out.String(), nil
}

// However the stream is cut, the decoder finds the same.
func FuzzDecoder(f *testing.F) {
	f.Add(append(frame(0x82, "hello"), frame(0x89, "ping")...), uint64(1))
	f.Add(append(frame(0x02, "hello"), frame(0x80, "")...), uint64(2))
	f.Add(frame(0x88, "\x03\xe8"), uint64(3))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		whole, err1 := decodeAll(in, func() int { return len(in) })
		cut, err2 := decodeAll(in, func() int { return 1 + rng.IntN(20) })
		if whole != cut || (err1 == nil) != (err2 == nil) {
			t.Errorf("whole %q, %v\n  cut %q, %v", whole, err1, cut, err2)
		}
	})
}

func TestServerFrame(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
		payload := bytes.Repeat([]byte{'x'}, n)
		b0, got, err := readFrame(io.MultiReader(bytes.NewReader(appendHeader(nil, opBinary, 0, n)), bytes.NewReader(payload)))
		if b0 != 0x82 || !bytes.Equal(got, payload) || err != nil {
			t.Errorf("%d bytes: %x, %d, %v", n, b0, len(got), err)
		}
	}
}

func TestCloseCode(t *testing.T) {
	for in, want := range map[string]int{
		"": codeNone, "\x03": 1002, "\x03\xe8": 1000, "\x03\xe9why": 1001, "\x03\xed": 1002, "\x03\xee": 1002,
		"\x0b\xb8": 3000, "\x07\xd0": 1002, "\x13\x88": 1002, "\x00\x01": 1002, "\x03\xf6": 1014,
	} {
		if got := closeCode([]byte(in)); got != want {
			t.Errorf("closeCode(%x) = %d, want %d", in, got, want)
		}
	}
}

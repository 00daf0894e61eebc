package vision

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

var uuid = [uuidSize]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// stream is three blocks and what follows, with the content in it.
func stream(last Command) (wire, content []byte) {
	wire = AppendBlock(wire, uuid[:], CommandContinue, nil, 1000)
	wire = AppendBlock(wire, nil, CommandContinue, []byte("hello "), 0)
	wire = AppendBlock(wire, nil, last, []byte("world"), 7)
	return append(wire, " and more"...), []byte("hello world and more")
}

// unpad feeds chunks as a connection does and returns all content.
func unpad(u *Unpadder, chunks ...[]byte) ([]byte, error) {
	var content, head []byte
	started := false
	for _, c := range chunks {
		if !started {
			head = append(head, c...)
			n, err := u.Start(head, uuid)
			if errors.Is(err, ErrShort) {
				continue
			}
			started, c = true, head[n:]
		}
		n, err := u.Unpad(c)
		content = append(content, c[:n]...)
		if err != nil {
			return content, err
		}
	}
	return content, nil
}

func TestUnpadEverySplit(t *testing.T) {
	for last, mode := range map[Command]Mode{CommandEnd: ModePlain, CommandDirect: ModeDirect} {
		wire, want := stream(last)
		for i := range wire {
			for _, j := range []int{i, min(i+1, len(wire)), min(i+5, len(wire)), len(wire)} {
				var u Unpadder
				b := bytes.Clone(wire)
				got, err := unpad(&u, b[:i:i], b[i:j:j], b[j:])
				if err != nil || !bytes.Equal(got, want) || u.Mode() != mode {
					t.Fatalf("command %d, cut at %d and %d: %q, mode %d, %v", last, i, j, got, u.Mode(), err)
				}
			}
		}
		var u Unpadder
		var bytewise [][]byte
		for _, c := range wire {
			bytewise = append(bytewise, []byte{c})
		}
		if got, err := unpad(&u, bytewise...); err != nil || !bytes.Equal(got, want) {
			t.Errorf("byte by byte: %q, %v", got, err)
		}
	}
}

func TestUnpad(t *testing.T) {
	block := func(cmd Command, content string, padding int) []byte {
		return AppendBlock(nil, uuid[:], cmd, []byte(content), padding)
	}
	for _, tt := range []struct {
		name, content string
		in            []byte
		mode          Mode
		err           error
	}{
		{"nothing", "", nil, ModePadded, nil},
		{"empty block", "", block(CommandContinue, "", 0), ModePadded, nil},
		{"empty last block", "", block(CommandDirect, "", 0), ModeDirect, nil},
		{"padding to come", "abc", block(CommandDirect, "abc", 9)[:30], ModePadded, nil},
		{"no uuid", "GET / HTTP/1.1", []byte("GET / HTTP/1.1"), ModePlain, nil},
		{"half a uuid", string(uuid[:8]) + "no", append(uuid[:8:8], "no"...), ModePlain, nil},
		{"unknown command", "", append(uuid[:len(uuid):len(uuid)], 3), ModePadded, ErrBadRequest},
	} {
		var u Unpadder
		got, err := unpad(&u, tt.in)
		if !errors.Is(err, tt.err) || string(got) != tt.content || u.Mode() != tt.mode {
			t.Errorf("%s: %q, mode %d, %v; want %q, mode %d, %v", tt.name, got, u.Mode(), err, tt.content, tt.mode, tt.err)
		}
	}
	for i := range uuidSize {
		if _, err := new(Unpadder).Start(uuid[:i], uuid); !errors.Is(err, ErrShort) {
			t.Errorf("%d bytes of the uuid: %v", i, err)
		}
	}
}

func TestPadding(t *testing.T) {
	most := func(n int) int { return n - 1 }
	least := func(int) int { return 0 }
	for _, tt := range []struct {
		name     string
		seed     Seed
		content  int
		long     bool
		from, to int
	}{
		{"nothing, long", DefaultSeed(), 0, true, 900, 1399},
		{"899 bytes, long", DefaultSeed(), 899, true, 1, 500},
		{"900 bytes, long", DefaultSeed(), 900, true, 0, 255},
		{"nothing, short", DefaultSeed(), 0, false, 0, 255},
		{"fills the block", DefaultSeed(), MaxContent, true, 0, 0},
		{"nearly fills it", DefaultSeed(), MaxContent - 10, true, 0, 10},
		{"own seed", Seed{100, 50, 200, 10}, 99, true, 101, 150},
		{"nothing to draw", Seed{}, 0, true, 0, 0},
		{"base below the content", Seed{1000, 1, 100, 0}, 900, true, 0, 0},
		{"more than fits", Seed{65535, 65535, 65535, 65535}, 1000, true, MaxContent - 1000, MaxContent - 1000},
	} {
		if from, to := tt.seed.Padding(tt.content, tt.long, least), tt.seed.Padding(tt.content, tt.long, most); from != tt.from || to != tt.to {
			t.Errorf("%s: %d to %d, want %d to %d", tt.name, from, to, tt.from, tt.to)
		}
	}
}

func TestCut(t *testing.T) {
	long := make([]byte, 3*MaxBlock)
	for _, tt := range []struct {
		name   string
		length int
		record int // where a record seems to start; 0 is nowhere
		want   int
	}{
		{"short", 5, 0, 5},
		{"just fits", MaxContent - 1, 100, MaxContent - 1},
		{"no record", MaxContent, 0, MaxBlock / 2},
		{"record", MaxContent, 5000, 5000},
		{"record too early", 2 * MaxBlock, 20, MaxBlock / 2},
		{"record too late", 2 * MaxBlock, MaxBlock, MaxBlock / 2},
	} {
		b := bytes.Clone(long[:tt.length])
		if tt.record > 0 {
			copy(b[tt.record:], appData)
		}
		if got := cut(b); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// FuzzUnpadder checks that cutting a stream anywhere changes nothing of what comes out.
func FuzzUnpadder(f *testing.F) {
	for _, last := range []Command{CommandEnd, CommandDirect, 9} {
		wire, _ := stream(last)
		f.Add(wire, uint16(20))
	}
	f.Add([]byte("GET / HTTP/1.1\r\n"), uint16(3))
	f.Fuzz(func(t *testing.T, in []byte, at uint16) {
		var whole, parts Unpadder
		want, err1 := unpad(&whole, bytes.Clone(in))
		b := bytes.Clone(in)
		i := min(int(at), len(b))
		got, err2 := unpad(&parts, b[:i:i], b[i:])
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("err = %v whole, %v in parts", err1, err2)
		}
		if err1 == nil && !bytes.Equal(got, want) || whole.Mode() != parts.Mode() && err1 == nil {
			t.Errorf("whole %q mode %d, parts %q mode %d", want, whole.Mode(), got, parts.Mode())
		}
		if len(want) > len(in) {
			t.Errorf("%d bytes of content from %d", len(want), len(in))
		}
	})
}

// FuzzPadding checks that what is padded comes out as it was, with blocks that fit.
func FuzzPadding(f *testing.F) {
	f.Add([]byte("content"), uint16(900), uint16(500), uint16(900), uint16(256), uint64(1))
	f.Add(bytes.Repeat([]byte{0x17, 3, 3, 9}, 9000), uint16(0), uint16(0), uint16(65535), uint16(65535), uint64(2))
	f.Fuzz(func(t *testing.T, content []byte, a, b, c, d uint16, source uint64) {
		seed, random := Seed{a, b, c, d}, rand.New(rand.NewPCG(source, 0)).IntN
		var u Unpadder
		var got []byte
		first := uuid[:]
		for rest := content; ; {
			n := cut(rest)
			block := AppendBlock(nil, first, CommandContinue, rest[:n], seed.Padding(n, source%2 == 0, random))
			if len(block) > MaxBlock {
				t.Fatalf("a block of %d bytes", len(block))
			}
			if first != nil {
				k, err := u.Start(block, uuid)
				if err != nil {
					t.Fatal(err)
				}
				block, first = block[k:], nil
			}
			k, err := u.Unpad(block)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, block[:k]...)
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
		}
		if !bytes.Equal(got, content) || u.Mode() != ModePadded {
			t.Errorf("%d bytes came out of %d", len(got), len(content))
		}
	})
}

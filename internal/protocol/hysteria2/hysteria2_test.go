package hysteria2

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	M "github.com/sagernet/sing/common/metadata"
	"golang.org/x/crypto/blake2b"
)

func TestParseRequest(t *testing.T) {
	for _, tt := range []struct {
		name, in, dst string
		padding       int
		err           error
	}{
		{"domain", "\x44\x01\x08a.io:443\x02", "a.io:443", 2, nil}, // PROTOCOL.md: 0x401 is 44 01
		{"ipv6", "\x44\x01\x08[::1]:80\x00", "[::1]:80", 0, nil},
		{"long padding", "\x44\x01\x06b.c:80\x50\x00", "b.c:80", 4096, nil},
		{"padding too long", "\x44\x01\x06b.c:80\x50\x01", "", 0, ErrBadRequest},
		{"another frame", "\x01\x00", "", 0, ErrBadRequest},
		{"no address", "\x44\x01\x00", "", 0, ErrBadRequest},
		{"long address", "\x44\x01\x48\x00", "", 0, ErrBadRequest},
		{"no port", "\x44\x01\x04a.io\x00", "", 0, ErrBadRequest},
		{"space", "\x44\x01\x06a b:80\x00", "", 0, ErrBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, n, err := ParseRequest([]byte(tt.in + "rest"))
			if !errors.Is(err, tt.err) {
				t.Fatalf("err = %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if r.Destination.String() != tt.dst || r.Padding != tt.padding || n != len(tt.in) {
				t.Errorf("got %+v, %d bytes, want %s, %d", r, n, tt.dst, len(tt.in))
			}
			if out := AppendRequest(nil, r); string(out[:n]) != tt.in || len(out) != n+tt.padding {
				t.Errorf("encoded as %q", out)
			}
			for i := range n { // every prefix asks for more, none panics
				if _, _, err := ParseRequest([]byte(tt.in[:i])); !errors.Is(err, ErrShort) {
					t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
				}
			}
		})
	}
}

func TestResponse(t *testing.T) {
	for _, want := range []Response{{OK: true}, {OK: true, Padding: 500}, {Message: "connection refused", Padding: 128}, {Message: strings.Repeat("x", 2048)}} {
		b := AppendResponse(nil, want)
		got, n, err := ParseResponse(b)
		if err != nil || got != want || n+want.Padding != len(b) {
			t.Errorf("%+v came back as %+v, %d of %d, %v", want, got, n, len(b), err)
		}
		for i := range n {
			if _, _, err := ParseResponse(b[:i]); !errors.Is(err, ErrShort) {
				t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
			}
		}
	}
	if b := AppendResponse(nil, Response{OK: true}); string(b) != "\x00\x00\x00" { // PROTOCOL.md
		t.Errorf("OK is %q", b)
	}
	if _, _, err := ParseResponse([]byte("\x01\x48\x01")); !errors.Is(err, ErrBadRequest) {
		t.Error(err)
	}
}

func TestParseRate(t *testing.T) {
	for in, want := range map[string]uint64{"": 0, "0": 0, "12500000": 12500000, "auto": 0, "-1": 0} {
		if got := ParseRate(in); got != want {
			t.Errorf("%q: %d, want %d", in, got, want)
		}
	}
}

func TestParseDatagram(t *testing.T) {
	in := "\x00\x00\x00\x07\x00\x09\x01\x03\x0a1.2.3.4:53"
	d, n, err := ParseDatagram([]byte(in+"payload"), "")
	want := Datagram{7, 9, 1, 3, M.ParseSocksaddr("1.2.3.4:53")}
	if err != nil || d != want || n != len(in) || string(AppendDatagram(nil, d)) != in {
		t.Errorf("got %+v, %d, %v", d, n, err)
	}
	for name, bad := range map[string]string{
		"short":         in[:7],
		"cut":           in[:len(in)-1],
		"no fragments":  "\x00\x00\x00\x07\x00\x09\x00\x00\x0a1.2.3.4:53",
		"beyond":        "\x00\x00\x00\x07\x00\x09\x03\x03\x0a1.2.3.4:53",
		"no address":    "\x00\x00\x00\x07\x00\x09\x00\x01\x00",
		"odd address":   "\x00\x00\x00\x07\x00\x09\x00\x01\x03a:b",
		"long address":  "\x00\x00\x00\x07\x00\x09\x00\x01\x7f\xff",
		"absurd length": "\x00\x00\x00\x07\x00\x09\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		if _, _, err := ParseDatagram([]byte(bad), ""); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestFragments(t *testing.T) {
	for _, tt := range [][5]int{ // length, header, size, count, each
		{100, 20, 1200, 1, 1180},
		{1180, 20, 1200, 1, 1180},
		{1181, 20, 1200, 2, 1180},
		{4096, 20, 1200, 4, 1180},
		{0, 20, 1200, 1, 1180},
		{100, 20, 20, 0, 0},
		{100, 20, 10, 0, 0},
		{4096, 20, 22, 0, 0},
	} {
		if count, each := Fragments(tt[0], tt[1], tt[2]); count != tt[3] || each != tt[4] {
			t.Errorf("%v: %d of %d", tt, count, each)
		}
	}
}

func fragment(session uint32, packet uint16, index, count uint8) *Datagram {
	return &Datagram{Session: session, Packet: packet, Index: index, Count: count}
}

func TestReassembly(t *testing.T) {
	var r Reassembly
	now := time.Unix(1000, 0)
	add := func(d *Datagram, payload string) string {
		whole, _ := r.Add(d, []byte(payload), now)
		return string(whole)
	}
	for _, step := range []struct {
		d             *Datagram
		payload, want string
	}{
		{fragment(1, 1, 1, 3), "b", ""},
		{fragment(2, 1, 0, 2), "x", ""}, // another session's packet of that number
		{fragment(1, 1, 1, 3), "twice", ""},
		{fragment(1, 1, 2, 3), "c", ""},
		{fragment(1, 1, 0, 3), "a", "abc"},
		{fragment(2, 1, 1, 2), "y", "xy"},
		{fragment(1, 2, 0, 2), "old", ""},
		{fragment(1, 2, 1, 3), "2", ""}, // the number again, with another count
		{fragment(1, 2, 0, 3), "1", ""},
		{fragment(1, 2, 2, 3), "3", "123"},
	} {
		if got := add(step.d, step.payload); got != step.want {
			t.Errorf("%+v %q: %q, want %q", step.d, step.payload, got, step.want)
		}
	}
	add(fragment(1, 3, 0, 2), "late")
	now = now.Add(waitFor + time.Second)
	if got := add(fragment(1, 3, 1, 2), "r"); got != "" {
		t.Errorf("a fragment waited too long: %q", got)
	}
	if len(r.partial) != 1 || r.size != 1 {
		t.Errorf("%d packets of %d bytes wait", len(r.partial), r.size)
	}
}

func TestReassemblyIsBounded(t *testing.T) {
	var r Reassembly
	big := make([]byte, 1400)
	for i := range 20_000 {
		if _, ok := r.Add(fragment(uint32(i%7), uint16(i/200), uint8(i%200), 201), big, time.Unix(0, 0)); ok {
			t.Fatal("whole")
		}
		if len(r.partial) > maxPartial || r.size > maxWaiting+len(big) {
			t.Fatalf("%d packets of %d bytes wait", len(r.partial), r.size)
		}
	}
	for i := range 60 { // one packet beyond what UDP can carry
		r.Add(fragment(99, 1, uint8(i), 200), big, time.Unix(0, 0))
	}
	if _, p := r.find(fragment(99, 1, 0, 200)); p != nil && p.size > maxPacket {
		t.Errorf("a packet of %d bytes waits", p.size)
	}
}

func TestSalamander(t *testing.T) {
	salt := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	s := NewSalamander("obfspass")
	key := s.key(salt)
	// protocols.md Appendix B
	if got := hex.EncodeToString(key[:]); got != "f1bba134b46c3a20714bfdd257d5c4e4f0ee822356d142f2f4ada2844c21bfd3" {
		t.Errorf("key = %s", got)
	}
	for _, n := range []int{1, 7, 31, 32, 33, 64, 1200} {
		plain := bytes.Repeat([]byte{0xa5, 3}, n)[:n]
		out := make([]byte, SaltSize+n)
		if got := s.Seal(out, plain, salt); got != len(out) || !bytes.HasPrefix(out, salt) {
			t.Fatalf("%d bytes became %d", n, got)
		}
		for i := range plain { // as PROTOCOL.md says it
			if out[SaltSize+i] != plain[i]^key[i%blake2b.Size256] {
				t.Fatalf("byte %d of %d differs", i, n)
			}
		}
		if got, ok := s.Open(out, out); !ok || !bytes.Equal(out[:got], plain) {
			t.Errorf("%d bytes do not come back", n)
		}
	}
	if _, ok := s.Open(make([]byte, 8), salt); ok {
		t.Error("a salt alone is a datagram")
	}
	if got := testing.AllocsPerRun(100, func() { s.Seal(make([]byte, 20), salt, salt) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x44\x01\x08a.io:443\x02xx"))
	f.Add([]byte("\x01\x04oops\x00"))
	f.Add([]byte("\x00\x00\x00\x07\x00\x09\x01\x03\x0a1.2.3.4:53payload"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if r, n, err := ParseRequest(in); err == nil {
			again, _, err := ParseRequest(AppendRequest(nil, r))
			if err != nil || again != r || n > len(in) {
				t.Errorf("request %+v came back as %+v, %v", r, again, err)
			}
		}
		if r, n, err := ParseResponse(in); err == nil {
			again, _, err := ParseResponse(AppendResponse(nil, r))
			if err != nil || again != r || n > len(in) {
				t.Errorf("response %+v came back as %+v, %v", r, again, err)
			}
		}
		d, n, err := ParseDatagram(in, "")
		if err != nil {
			return
		}
		out := AppendDatagram(nil, d)
		again, _, err := ParseDatagram(out, "")
		if err != nil || again != d || len(out) > MaxHeader {
			t.Errorf("datagram %+v came back as %+v, %v", d, again, err)
		}
		var r Reassembly
		if whole, ok := r.Add(&d, in[n:], time.Unix(0, 0)); ok != (d.Count == 1) || ok && !bytes.Equal(whole, in[n:]) {
			t.Errorf("%+v: %q, %v", d, whole, ok)
		}
	})
}

func BenchmarkParseDatagram(b *testing.B) { // 0 allocs: the host is known
	in := AppendDatagram(nil, Datagram{1, 2, 0, 1, M.Socksaddr{Fqdn: "www.example.com", Port: 443}})
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = ParseDatagram(in, "www.example.com")
	}
}

func BenchmarkSalamander(b *testing.B) {
	s, plain, out, salt := NewSalamander("obfspass"), make([]byte, 1350), make([]byte, 1400), make([]byte, SaltSize)
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for b.Loop() {
		s.Seal(out, plain, salt)
	}
}

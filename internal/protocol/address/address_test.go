package address

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/wire"
)

// format is one of the encodings under test.
type format struct {
	name   string
	parse  func([]byte, string) (M.Socksaddr, int, error)
	append func([]byte, M.Socksaddr) []byte
}

var formats = []format{
	{"V", ParseV, AppendV},
	{"S", ParseS, AppendS},
	{"P", func(b []byte, _ string) (M.Socksaddr, int, error) { return ParseP(b) }, AppendP},
	{"U", ParseU, AppendU},
}

func TestParse(t *testing.T) {
	long := strings.Repeat("a", 255)
	v6 := "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
	mapped := "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x01\x02\x03\x04"
	for _, tt := range []struct {
		name, format, in, want string
		err                    error
	}{
		{"ipv4", "V", "\x00\x50\x01\x01\x02\x03\x04", "1.2.3.4:80", nil},
		{"ipv6", "V", "\x01\xbb\x03" + v6, "[2001:db8::1]:443", nil},
		{"mapped", "V", "\x01\xbb\x03" + mapped, "1.2.3.4:443", nil},
		{"host", "V", "\x01\xbb\x02\x04a.io", "a.io:443", nil},
		{"longest host", "V", "\x01\xbb\x02\xff" + long, long + ":443", nil},
		{"odd host", "V", "\x01\xbb\x02\x05_a-.Z", "_a-.Z:443", nil},
		{"literal", "V", "\x01\xbb\x02\x071.2.3.4", "1.2.3.4:443", nil},
		{"literal 6", "V", "\x01\xbb\x02\x03::1", "[::1]:443", nil},
		{"literal in brackets", "V", "\x01\xbb\x02\x05[::1]", "[::1]:443", nil},
		{"literal mapped", "V", "\x01\xbb\x02\x0e::ffff:1.2.3.4", "1.2.3.4:443", nil},
		{"literal with zone", "V", "\x01\xbb\x02\x06::1%lo", "", wire.ErrBadRequest},
		{"digits", "V", "\x01\xbb\x02\x03127", "127:443", nil},
		{"empty host", "V", "\x01\xbb\x02\x00", "", wire.ErrBadRequest},
		{"space", "V", "\x01\xbb\x02\x03a b", "", wire.ErrBadRequest},
		{"bracket", "V", "\x01\xbb\x02\x03[a]", "", wire.ErrBadRequest},
		{"lone colon", "V", "\x01\xbb\x02\x01:", "", wire.ErrBadRequest},
		{"brackets only", "V", "\x01\xbb\x02\x02[]", "", wire.ErrBadRequest},
		{"high byte", "V", "\x01\xbb\x02\x02\xc3\xa4", "", wire.ErrBadRequest},
		{"early bad byte", "V", "\x01\xbb\x02\xffGET /", "", wire.ErrBadRequest},
		{"type 0", "V", "\x01\xbb\x00", "", wire.ErrBadRequest},
		{"type 4", "V", "\x01\xbb\x04", "", wire.ErrBadRequest},

		{"ipv4", "S", "\x01\x01\x02\x03\x04\x00\x50", "1.2.3.4:80", nil},
		{"ipv6", "S", "\x04" + v6 + "\x01\xbb", "[2001:db8::1]:443", nil},
		{"host", "S", "\x03\x04a.io\x01\xbb", "a.io:443", nil},
		{"literal", "S", "\x03\x071.2.3.4\x01\xbb", "1.2.3.4:443", nil},
		{"type 2", "S", "\x02", "", wire.ErrBadRequest},
		{"type 5", "S", "\x05", "", wire.ErrBadRequest},
		{"bad host before the port", "S", "\x03\x01!", "", wire.ErrBadRequest},

		{"ipv4", "P", "\x01\x01\x02\x03\x04\x00\x50", "1.2.3.4:80", nil},
		{"ipv6", "P", "\x02" + v6 + "\x01\xbb", "[2001:db8::1]:443", nil},
		{"mapped", "P", "\x02" + mapped + "\x01\xbb", "1.2.3.4:443", nil},
		{"type 3", "P", "\x03", "", wire.ErrBadRequest},

		{"ipv4", "U", "\x00\x01\x02\x03\x04\x00\x50", "1.2.3.4:80", nil},
		{"ipv6", "U", "\x01" + v6 + "\x01\xbb", "[2001:db8::1]:443", nil},
		{"host", "U", "\x02\x04a.io\x01\xbb", "a.io:443", nil},
		{"type 3", "U", "\x03", "", wire.ErrBadRequest},
	} {
		t.Run(tt.format+" "+tt.name, func(t *testing.T) {
			f := formats[strings.Index("VSPU", tt.format)]
			got, n, err := f.parse([]byte(tt.in+"rest"), "")
			if !errors.Is(err, tt.err) {
				t.Fatalf("err = %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if got.String() != tt.want {
				t.Errorf("address = %s, want %s", got, tt.want)
			}
			if n != len(tt.in) {
				t.Errorf("length = %d, want %d", n, len(tt.in))
			}
			for i := range n { // every prefix asks for more, none panics
				if _, _, err := f.parse([]byte(tt.in[:i]), ""); !errors.Is(err, ErrShort) {
					t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
				}
			}
			checkRoundTrip(t, f, got)
		})
	}
}

// checkRoundTrip demands that addr survives encoding and that Size is right.
func checkRoundTrip(t *testing.T, f format, addr M.Socksaddr) {
	t.Helper()
	out := f.append(nil, addr)
	if len(out) != Size(addr) || len(out) > Max {
		t.Errorf("%s: %d bytes, Size %d, Max %d", addr, len(out), Size(addr), Max)
	}
	again, n, err := f.parse(out, addr.Fqdn)
	if err != nil || n != len(out) || again != addr {
		t.Errorf("%s came back as %s, %d of %d bytes, err %v", addr, again, n, len(out), err)
	}
}

func TestAppendWhatTheWireCannotSay(t *testing.T) {
	zero := "0.0.0.0:53"
	for _, tt := range []struct {
		name string
		addr M.Socksaddr
		want [4]string // by format
	}{
		{"nothing", M.Socksaddr{Port: 53}, [4]string{zero, zero, zero, zero}},
		{"long host", M.Socksaddr{Fqdn: strings.Repeat("a", 256), Port: 53}, [4]string{zero, zero, zero, zero}},
		{"host", M.Socksaddr{Fqdn: "a.io", Port: 53}, [4]string{"a.io:53", "a.io:53", zero, "a.io:53"}},
		{"mapped", M.ParseSocksaddrHostPort("::ffff:1.2.3.4", 53), [4]string{"1.2.3.4:53", "1.2.3.4:53", "1.2.3.4:53", "1.2.3.4:53"}},
		{"zone", M.ParseSocksaddrHostPort("fe80::1%eth0", 53), [4]string{"[fe80::1]:53", "[fe80::1]:53", "[fe80::1]:53", "[fe80::1]:53"}},
	} {
		for i, f := range formats {
			got, _, err := f.parse(f.append(nil, tt.addr), "")
			if err != nil || got.String() != tt.want[i] {
				t.Errorf("%s %s: %s, %v, want %s", f.name, tt.name, got, err, tt.want[i])
			}
		}
	}
}

func TestHintSavesTheAllocation(t *testing.T) {
	in := AppendS(nil, M.Socksaddr{Fqdn: "www.example.com", Port: 443})
	first, _, err := ParseS(in, "")
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _, _ = ParseS(in, first.Fqdn) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
	if got, _, _ := ParseS(in, "www.example.org"); got != first {
		t.Errorf("with another hint: %s, want %s", got, first)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x00\x50\x01\x01\x02\x03\x04"))
	f.Add([]byte("\x01\xbb\x02\x04a.io"))
	f.Add([]byte("\x03\x071.2.3.4\x01\xbb"))
	f.Add([]byte("\x03\x05[::1]\x01\xbb"))
	f.Add([]byte("\x02\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\xbb"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, format := range formats {
			addr, n, err := format.parse(in, "")
			if err != nil {
				continue
			}
			if !addr.IsValid() || addr.Addr.Is4In6() || addr.Addr.IsValid() && addr.Fqdn != "" {
				t.Errorf("%s: bad address %#v", format.name, addr)
			}
			if cut, m, err := format.parse(bytes.Clone(in[:n]), ""); err != nil || m != n || cut != addr {
				t.Errorf("%s: reads over its end: %v", format.name, err)
			}
			if _, _, err := format.parse(in[:n-1], ""); !errors.Is(err, ErrShort) {
				t.Errorf("%s: one byte less: %v, want ErrShort", format.name, err)
			}
			checkRoundTrip(t, format, addr)
		}
	})
}

func BenchmarkParseS(b *testing.B) { // 0 allocs: the host is known
	in := AppendS(nil, M.Socksaddr{Fqdn: "www.example.com", Port: 443})
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = ParseS(in, "www.example.com")
	}
}

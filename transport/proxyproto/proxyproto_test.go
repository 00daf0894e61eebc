package proxyproto

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

const v2proxy4 = signature + "\x21\x11\x00\x0c" + "\xc0\x00\x02\x01" + "\xc6\x33\x64\x02" + "\x1f\x90\x01\xbb"

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, in            string
		source, destination string
		err                 error
	}{
		{"v1 ipv4", "PROXY TCP4 192.0.2.1 198.51.100.2 8080 443\r\n", "192.0.2.1:8080", "198.51.100.2:443", nil},
		{"v1 ipv6", "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", "[2001:db8::1]:1", "[2001:db8::2]:65535", nil},
		{"v1 mapped", "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 0 1\r\n", "192.0.2.1:0", "[2001:db8::2]:1", nil},
		{"v1 unknown", "PROXY UNKNOWN\r\n", "", "", nil},
		{"v1 unknown with more", "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "", "", nil},
		{
			"v1 longest",
			"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
			"", "", nil,
		},
		{"v1 too long", "PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n", "", "", ErrBadHeader},
		{"v1 endless", "PROXY " + strings.Repeat("T", 200), "", "", ErrBadHeader},
		{"v1 lf alone", "PROXY UNKNOWN\n", "", "", ErrBadHeader},
		{"v1 family", "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "", "", ErrBadHeader},
		{"v1 wrong family", "PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n", "", "", ErrBadHeader},
		{"v1 wrong family 6", "PROXY TCP6 192.0.2.1 2001:db8::2 1 2\r\n", "", "", ErrBadHeader},
		{"v1 zone", "PROXY TCP6 fe80::1%eth0 2001:db8::2 1 2\r\n", "", "", ErrBadHeader},
		{"v1 few fields", "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "", "", ErrBadHeader},
		{"v1 many fields", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", "", "", ErrBadHeader},
		{"v1 two spaces", "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", "", "", ErrBadHeader},
		{"v1 port", "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", "", "", ErrBadHeader},
		{"v1 port sign", "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", "", "", ErrBadHeader},
		{"v1 port zeros", "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "", "", ErrBadHeader},
		{"v1 host name", "PROXY TCP4 localhost 192.0.2.2 1 2\r\n", "", "", ErrBadHeader},

		{"v2 ipv4", v2proxy4, "192.0.2.1:8080", "198.51.100.2:443", nil},
		{"v2 ipv4 and TLVs", signature + "\x21\x11\x00\x10" + v2proxy4[fixed:] + "\x04\x00\x01\x00", "192.0.2.1:8080", "198.51.100.2:443", nil},
		{"v2 udp", signature + "\x21\x12" + v2proxy4[fixed-2:], "192.0.2.1:8080", "198.51.100.2:443", nil},
		{
			"v2 ipv6",
			signature + "\x21\x21\x00\x24" + "\x20\x01\x0d\xb8" + zeros(11) + "\x01" + zeros(10) + "\xff\xff\xc0\x00\x02\x01" + "\x00\x01\x00\x02",
			"[2001:db8::1]:1", "192.0.2.1:2", nil,
		},
		{"v2 local", signature + "\x20\x00\x00\x00", "", "", nil},
		{"v2 local with addresses", signature + "\x20" + v2proxy4[len(signature)+1:], "", "", nil},
		{"v2 local of any family", signature + "\x20\x99\x00\x01\x00", "", "", nil},
		{"v2 unspec", signature + "\x21\x00\x00\x02\x04\x04", "", "", nil},
		{"v2 unix", signature + "\x21\x31\x00\xd8" + zeros(216), "", "", nil},
		{"v2 longest", signature + "\x21\x11\x02\x18" + v2proxy4[fixed:] + zeros(maxBody-addrs4), "192.0.2.1:8080", "198.51.100.2:443", nil},
		{"v2 too long", signature + "\x21\x11\x02\x19", "", "", ErrBadHeader},
		{"v2 too short", signature + "\x21\x11\x00\x0b", "", "", ErrBadHeader},
		{"v2 too short for ipv6", signature + "\x21\x21\x00\x23", "", "", ErrBadHeader},
		{"v2 version", signature + "\x11", "", "", ErrBadHeader},
		{"v2 command", signature + "\x22", "", "", ErrBadHeader},
		{"v2 family", signature + "\x21\x13\x00\x0c", "", "", ErrBadHeader},

		{"tls", "\x16\x03\x01", "", "", ErrMissing},
		{"http", "GET / HTTP/1.1\r\n", "", "", ErrMissing},
		{"almost v1", "PROXY\r\n", "", "", ErrMissing},
		{"almost v2", "\r\n\r\n\x00\r\nQUIX\n", "", "", ErrMissing},
		{"post", "PO", "", "", ErrMissing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, n, err := Parse([]byte(tt.in + "rest"))
			if !errors.Is(err, tt.err) {
				t.Fatalf("err = %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if n != len(tt.in) {
				t.Errorf("length = %d, want %d", n, len(tt.in))
			}
			if got := text(h.Source); got != tt.source {
				t.Errorf("source = %s, want %s", got, tt.source)
			}
			if got := text(h.Destination); got != tt.destination {
				t.Errorf("destination = %s, want %s", got, tt.destination)
			}
			for i := range n {
				if _, _, err := Parse([]byte(tt.in[:i])); !errors.Is(err, ErrShort) {
					t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
				}
			}
		})
	}
}

func zeros(n int) string { return strings.Repeat("\x00", n) }

func text(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func TestAppend(t *testing.T) {
	v4, w4 := netip.MustParseAddrPort("192.0.2.1:8080"), netip.MustParseAddrPort("198.51.100.2:443")
	v6 := netip.MustParseAddrPort("[2001:db8::1]:1")
	for _, h := range []Header{{}, {v4, w4}, {v6, v6}, {v4, v6}, {v6, v4}, {Source: v4}} {
		want := h
		if !h.known() {
			want = Header{}
		}
		for name, b := range map[string][]byte{"v1": AppendV1(nil, h), "v2": AppendV2(nil, h), "v2 with a TLV": AppendV2(nil, h, 4, 0, 1, 0)} {
			got, n, err := Parse(b)
			if err != nil || n != len(b) || got != want {
				t.Errorf("%s of %v: %v, %d of %d bytes, %v", name, h, got, n, len(b), err)
			}
		}
	}
	if got := string(AppendV2(nil, Header{v4, w4})); got != v2proxy4 {
		t.Errorf("got %q, want %q", got, v2proxy4)
	}
	if got, want := string(AppendV1(nil, Header{v4, w4})), "PROXY TCP4 192.0.2.1 198.51.100.2 8080 443\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What Parse takes says the same when it is written again, and no byte behind it matters.
func FuzzParse(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 198.51.100.2 8080 443\r\nGET"))
	f.Add([]byte("PROXY TCP6 ::1 ::2 1 2\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(v2proxy4 + "\x16\x03\x01"))
	f.Add([]byte(signature + "\x20\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, n, err := Parse(in)
		if err != nil {
			return
		}
		if n > len(in) || n > MaxHeader {
			t.Fatalf("length %d of %d", n, len(in))
		}
		if _, _, err := Parse(in[:n-1]); !errors.Is(err, ErrShort) {
			t.Errorf("without its last byte: %v, want ErrShort", err)
		}
		for _, again := range [][]byte{bytes.Clone(in[:n]), AppendV1(nil, h), AppendV2(nil, h)} {
			if got, k, err := Parse(again); got != h || k != len(again) || err != nil {
				t.Errorf("%q: %v, %v, want %v", again, got, err, h)
			}
		}
	})
}

func BenchmarkParseV1(b *testing.B) {
	in := []byte("PROXY TCP4 192.0.2.1 198.51.100.2 8080 443\r\n")
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = Parse(in)
	}
}

func BenchmarkParseV2(b *testing.B) {
	in := []byte(v2proxy4)
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = Parse(in)
	}
}

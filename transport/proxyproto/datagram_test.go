package proxyproto

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
)

func TestParseDatagram(t *testing.T) {
	h := Header{netip.MustParseAddrPort("203.0.113.9:1000"), netip.MustParseAddrPort("192.0.2.1:53")}
	stream := AppendV2(nil, h, 4, 0, 1, 0) // a NOOP TLV
	datagram := bytes.Clone(stream)
	datagram[len(signature)+1] = familyUDP4
	local := AppendV2(nil, Header{})
	for _, tt := range []struct {
		name string
		in   []byte
		want Header
		err  error
	}{
		{"datagram", datagram, h, nil},
		{"stream", stream, h, nil},
		{"local", local, Header{}, nil},
		{"payload", []byte("payload"), Header{}, ErrMissing},
		{"empty", nil, Header{}, ErrMissing},
		{"version 1", AppendV1(nil, h), Header{}, ErrMissing},
		{"version 3", append([]byte(signature), 0x31, familyUDP4, 0, 0), Header{}, ErrBadHeader},
		{"short body", append([]byte(signature), 0x21, familyUDP4, 0, 4, 1, 2, 3, 4), Header{}, ErrBadHeader},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := append(bytes.Clone(tt.in), "rest"...)
			got, n, err := ParseDatagram(in)
			if !errors.Is(err, tt.err) || got != tt.want {
				t.Fatalf("%v, %v", got, err)
			}
			if err != nil {
				return
			}
			if n != len(tt.in) {
				t.Errorf("%d bytes, want %d", n, len(tt.in))
			}
			for i := range n { // a header is whole or none
				_, _, err := ParseDatagram(in[:i])
				if want := i < len(signature); errors.Is(err, ErrMissing) != want || errors.Is(err, ErrBadHeader) == want {
					t.Errorf("prefix of %d bytes: %v", i, err)
				}
			}
		})
	}
}

// What a datagram's header says, a stream's says too.
func FuzzParseDatagram(f *testing.F) {
	h := Header{netip.MustParseAddrPort("203.0.113.9:1000"), netip.MustParseAddrPort("[2001:db8::1]:53")}
	f.Add(AppendV2(nil, h))
	f.Add(AppendV2(nil, Header{}, 1, 2, 3))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, n, err := ParseDatagram(in)
		if err != nil {
			if n != 0 || got != (Header{}) || !errors.Is(err, ErrMissing) && !errors.Is(err, ErrBadHeader) {
				t.Errorf("%v, %d, %v", got, n, err)
			}
			return
		}
		other, m, err := Parse(in)
		if err != nil || m != n || other != got || n > len(in) {
			t.Errorf("%v and %v, %d and %d bytes of %d, %v", got, other, n, m, len(in), err)
		}
	})
}

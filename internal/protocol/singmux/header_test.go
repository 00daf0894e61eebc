package singmux

import (
	"errors"
	"strings"
	"testing"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/wire/wiretest"
)

func TestParseHello(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     Hello
		err      error
	}{
		{"smux", "\x00\x00", Hello{}, nil},
		{"yamux", "\x00\x01", Hello{Protocol: ProtocolYamux}, nil},
		{"h2mux", "\x00\x02", Hello{Protocol: ProtocolHTTP2}, nil},
		{"version 1", "\x01\x02\x00", Hello{Protocol: ProtocolHTTP2}, nil},
		{"padded", "\x01\x00\x01\x01\x00", Hello{Padding: true, PaddingSize: 256}, nil},
		{"version 2", "\x02\x00", Hello{}, ErrBadRequest},
		{"protocol 3", "\x00\x03", Hello{}, ErrBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, n, err := ParseHello([]byte(tt.in + "rest"))
			if !errors.Is(err, tt.err) || h != tt.want {
				t.Fatalf("%+v, %v, want %+v, %v", h, err, tt.want, tt.err)
			}
			if err != nil {
				return
			}
			if n != len(tt.in) {
				t.Errorf("length = %d, want %d", n, len(tt.in))
			}
			for i := range n {
				if _, _, err := ParseHello([]byte(tt.in[:i])); !errors.Is(err, ErrShort) {
					t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
				}
			}
		})
	}
}

func TestParseRequest(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     Request
		err      error
	}{
		{"tcp", "\x00\x00\x01\x01\x02\x03\x04\x00\x50", Request{Destination: M.ParseSocksaddr("1.2.3.4:80")}, nil},
		{"host", "\x00\x00\x03\x04a.io\x01\xbb", Request{Destination: M.ParseSocksaddr("a.io:443")}, nil},
		{"udp", "\x00\x01\x04" + strings.Repeat("\x00", 15) + "\x01\x00\x35", Request{UDP: true, Destination: M.ParseSocksaddr("[::1]:53")}, nil},
		{"udp per packet", "\x00\x03\x01\x01\x02\x03\x04\x00\x50", Request{UDP: true, PerPacket: true, Destination: M.ParseSocksaddr("1.2.3.4:80")}, nil},
		{"tcp per packet", "\x00\x02\x01\x01\x02\x03\x04\x00\x50", Request{Destination: M.ParseSocksaddr("1.2.3.4:80")}, nil},
		{"unknown flags", "\xff\xf0\x01\x01\x02\x03\x04\x00\x50", Request{Destination: M.ParseSocksaddr("1.2.3.4:80")}, nil},
		{"brutal", "\x00\x00\x03\x11_BrutalBwExchange\x00\x00", Request{Destination: M.Socksaddr{Fqdn: brutalHost}}, nil},
		{"type", "\x00\x00\x02", Request{}, ErrBadRequest},
		{"empty host", "\x00\x00\x03\x00", Request{}, ErrBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, n, err := ParseRequest([]byte(tt.in + "rest"))
			if !errors.Is(err, tt.err) || r != tt.want {
				t.Fatalf("%+v, %v, want %+v, %v", r, err, tt.want, tt.err)
			}
			if err != nil {
				return
			}
			if n != len(tt.in) {
				t.Errorf("length = %d, want %d", n, len(tt.in))
			}
			for i := range n {
				if _, _, err := ParseRequest([]byte(tt.in[:i])); !errors.Is(err, ErrShort) {
					t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
				}
			}
		})
	}
}

func TestParsePacket(t *testing.T) {
	in := "\x03\x04a.io\x00\x35\x01\x02"
	h, n, err := parsePacket([]byte(in+"rest"), "")
	if err != nil || n != len(in) || h.length != 0x102 || h.address != M.ParseSocksaddr("a.io:53") {
		t.Errorf("%+v, %d, %v", h, n, err)
	}
	for i := range n {
		if _, _, err := parsePacket([]byte(in[:i]), ""); err != ErrShort {
			t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
		}
	}
	for i := range 2 {
		if _, _, err := parseLength(make([]byte, i)); err != ErrShort {
			t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
		}
	}
}

func TestAppendFailure(t *testing.T) {
	if got := string(AppendFailure(nil, "no")); got != "\x01\x02no" {
		t.Errorf("%q", got)
	}
	if got := AppendFailure(nil, strings.Repeat("x", 1000)); len(got) != 1+2+255 {
		t.Errorf("%d bytes", len(got))
	}
}

// Vectors of sing-mux itself; testdata/README.md says how they were made.
func TestGolden(t *testing.T) {
	for _, tt := range []struct {
		name string
		want []byte
	}{
		{"sing-hello-smux", AppendHello(nil, Hello{Protocol: ProtocolSmux})},
		{"sing-hello-h2mux", AppendHello(nil, Hello{Protocol: ProtocolHTTP2})},
		{"sing-stream-tcp-domain", AppendRequest(nil, tcpRequest)},
		{"sing-stream-udp-ipv6", AppendRequest(nil, Request{UDP: true, Destination: M.ParseSocksaddr("[2001:db8::1]:53")})},
		{"sing-stream-udp-addr", AppendRequest(nil, Request{UDP: true, PerPacket: true, Destination: M.Socksaddr{Fqdn: Host, Port: 444}})},
	} {
		if in := wiretest.Vector(t, "singmux", tt.name); in != string(tt.want) {
			t.Errorf("%s: %x, want %x", tt.name, tt.want, in)
		}
	}
	in := wiretest.Vector(t, "singmux", "sing-hello-yamux-padded")
	h, n, err := ParseHello([]byte(in))
	if err != nil || h.Protocol != ProtocolYamux || !h.Padding || n+h.PaddingSize != len(in) {
		t.Errorf("%+v, %d of %d, %v", h, n, len(in), err)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("\x00\x00\x03\x04a.io\x01\xbbGET"))
	f.Add([]byte("\x00\x03\x01\x01\x02\x03\x04\x00\x50"))
	f.Add([]byte("\x00\x00\x03\x02::00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, _, err := ParseRequest(in)
		if err != nil {
			return
		}
		out := AppendRequest(nil, r) // may be longer than in: "::" as a host name is 2 bytes, as an IP 16
		again, k, err := ParseRequest(out)
		if err != nil || again != r || k != len(out) {
			t.Errorf("%+v, %v, want %+v", again, err, r)
		}
	})
}

func FuzzParseHello(f *testing.F) {
	f.Add([]byte("\x00\x02"))
	f.Add([]byte("\x01\x01\x01\x01\x00"))
	f.Add([]byte("\x01\x01\x30\x30\x30"))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, n, err := ParseHello(in)
		if err != nil {
			return
		}
		again, k, err := ParseHello(AppendHello(nil, h))
		if err != nil || again != h || h.Padding && k != n { // any flag but 0 is padding
			t.Errorf("%+v, %v, want %+v", again, err, h)
		}
	})
}

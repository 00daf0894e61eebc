package vmess

import (
	"bytes"
	"errors"
	"testing"

	M "github.com/sagernet/sing/common/metadata"
)

// padding is what test headers are padded with.
var padding = []byte("fifteen bytes..")

func testRequest() Request {
	return Request{
		Key: [16]byte{1, 2, 3}, IV: [16]byte{4, 5, 6}, Response: 0x7f, Options: padded, Security: SecurityGCM,
		Padding: 3, Command: CommandTCP, Destination: M.ParseSocksaddr("example.com:443"),
	}
}

func TestParseHeader(t *testing.T) {
	with := func(change func(*Request)) Request {
		r := testRequest()
		change(&r)
		return r
	}
	for _, tt := range []struct {
		name string
		req  Request
		err  error
	}{
		{"host", testRequest(), nil},
		{"ipv4", with(func(r *Request) { r.Destination = M.ParseSocksaddr("1.2.3.4:80") }), nil},
		{"ipv6, padding", with(func(r *Request) { r.Destination = M.ParseSocksaddr("[2001:db8::1]:80"); r.Padding = 15 }), nil},
		{"no padding", with(func(r *Request) { r.Padding = 0 }), nil},
		{"mux", with(func(r *Request) { r.Command = CommandMux; r.Destination = M.Socksaddr{Fqdn: MuxHost} }), nil},
		{"udp", with(func(r *Request) { r.Command = CommandUDP }), nil},
		{"udp of none", with(func(r *Request) { r.Command = CommandUDP; r.Security = SecurityNone }), nil},
		{"udp without chunks", with(func(r *Request) { r.Command, r.Security, r.Options = CommandUDP, SecurityNone, 0 }), errUnframed},
		{"legacy udp without chunks", with(func(r *Request) { r.Command, r.Security, r.Options = CommandUDP, SecurityLegacy, 0 }), errUnframed},
		{"unknown security", with(func(r *Request) { r.Security = 0 }), errSecurity},
		{"auto", with(func(r *Request) { r.Security = 2 }), errSecurity},
		{"zero", with(func(r *Request) { r.Security = 6 }), errSecurity},
		{"command 0", with(func(r *Request) { r.Command = 0 }), errCommand},
		{"command 4", with(func(r *Request) { r.Command = 4 }), errCommand},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := AppendHeader(nil, tt.req, padding)
			if len(in) > maxHeader {
				t.Errorf("%d bytes, more than the bound", len(in))
			}
			req, n, err := ParseHeader(append(bytes.Clone(in), "payload"...))
			if !errors.Is(err, tt.err) {
				t.Fatalf("err = %v, want %v", err, tt.err)
			}
			if err != nil {
				if !errors.Is(err, ErrBadRequest) {
					t.Errorf("%v does not wrap ErrBadRequest", err)
				}
				return
			}
			if req != tt.req || n != len(in) {
				t.Errorf("%+v of %d bytes, want %+v of %d", req, n, tt.req, len(in))
			}
			for i := range n {
				if _, _, err := ParseHeader(in[:i]); !errors.Is(err, ErrShort) {
					t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
				}
			}
			for i := range n * 8 {
				bad := bytes.Clone(in)
				bad[i/8] ^= 1 << (i % 8)
				if _, _, err := ParseHeader(bad); err == nil {
					t.Errorf("parsed with bit %d flipped", i)
				}
			}
		})
	}
}

func sealTest(req Request) ([]byte, [16]byte) {
	cmdKey := CmdKey(goldenUUID)
	id := SealAuthID(NewAuthIDCipher(cmdKey), goldenTime, [4]byte{1})
	return SealRequest(nil, cmdKey, id, [8]byte{2}, req, padding), cmdKey
}

func TestOpenRequest(t *testing.T) {
	in, cmdKey := sealTest(testRequest())
	req, n, err := OpenRequest(append(bytes.Clone(in), "payload"...), cmdKey)
	if err != nil || req != testRequest() || n != len(in) {
		t.Fatalf("%+v of %d bytes, %v", req, n, err)
	}
	for i := range n {
		if _, _, err := OpenRequest(in[:i], cmdKey); !errors.Is(err, ErrShort) {
			t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
		}
	}
	for i := range n * 8 {
		bad := bytes.Clone(in)
		bad[i/8] ^= 1 << (i % 8)
		if _, _, err := OpenRequest(bad, cmdKey); !errors.Is(err, ErrBadRequest) {
			t.Fatalf("bit %d flipped: err = %v, want ErrBadRequest", i, err)
		}
	}
	if _, _, err := OpenRequest(in, CmdKey(AlterID(goldenUUID))); !errors.Is(err, ErrBadRequest) {
		t.Errorf("another user's: %v", err)
	}
}

// sealHeader is SealRequest of any bytes.
func sealHeader(header []byte, length int) ([]byte, [16]byte) {
	cmdKey := CmdKey(goldenUUID)
	id := SealAuthID(NewAuthIDCipher(cmdKey), goldenTime, [4]byte{1})
	nonce := [8]byte{2}
	b := append([]byte(nil), id[:]...)
	aead, iv := requestAEAD(cmdKey, headerLenKeyText, headerLenNonceText, string(id[:]), string(nonce[:]))
	b = aead.Seal(b, iv[:], []byte{byte(length >> 8), byte(length)}, id[:])
	b = append(b, nonce[:]...)
	aead, iv = requestAEAD(cmdKey, headerKeyText, headerNonceText, string(id[:]), string(nonce[:]))
	return aead.Seal(b, iv[:], header, id[:]), cmdKey
}

func TestOpenRequestBounds(t *testing.T) {
	whole := AppendHeader(nil, testRequest(), padding)
	for _, tt := range []struct {
		name   string
		header []byte
		length int
		err    error
	}{
		{"as it is", whole, len(whole), nil},
		{"too short", whole[:minHeader-1], minHeader - 1, errLength},
		{"cut", whole[:len(whole)-1], len(whole) - 1, errLength},
		{"more behind", append(bytes.Clone(whole), 0), len(whole) + 1, errTrailing},
		{"too long", make([]byte, maxHeader+1), maxHeader + 1, errLength},
		{"65535", whole, 65535, errLength},
	} {
		in, cmdKey := sealHeader(tt.header, tt.length)
		if _, _, err := OpenRequest(in, cmdKey); !errors.Is(err, tt.err) {
			t.Errorf("%s: err = %v, want %v", tt.name, err, tt.err)
		}
	}
}

func TestOpenLegacyRequest(t *testing.T) {
	cmdKey := CmdKey(goldenUUID)
	var id [AuthIDSize]byte
	NewLegacyID(goldenUUID).Auth(goldenTime, &id)
	in := SealLegacyRequest(nil, cmdKey, id, goldenTime, testRequest(), padding)
	req, n, err := OpenLegacyRequest(append(bytes.Clone(in), "payload"...), cmdKey, goldenTime)
	if err != nil || req != testRequest() || n != len(in) {
		t.Fatalf("%+v of %d bytes, %v", req, n, err)
	}
	for i := range n {
		if _, _, err := OpenLegacyRequest(in[:i], cmdKey, goldenTime); !errors.Is(err, ErrShort) {
			t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
		}
	}
	for i := AuthIDSize * 8; i < n*8; i++ {
		bad := bytes.Clone(in)
		bad[i/8] ^= 1 << (i % 8)
		if _, _, err := OpenLegacyRequest(bad, cmdKey, goldenTime); err == nil {
			t.Fatalf("opened with bit %d flipped", i)
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add(AppendHeader(nil, testRequest(), padding))
	f.Fuzz(func(t *testing.T, in []byte) {
		req, n, err := ParseHeader(in)
		if err != nil {
			return
		}
		pad := in[n-checksum-req.Padding : n-checksum]
		out := AppendHeader(nil, req, pad) // may be longer than in: an IP may come as a host name
		again, m, err := ParseHeader(out)
		if err != nil || again != req || m != len(out) {
			t.Errorf("%+v again is %+v, %v", req, again, err)
		}
	})
}

// What stands after authentication is the client's to choose, whatever it is.
func FuzzOpenRequest(f *testing.F) {
	whole := AppendHeader(nil, testRequest(), padding)
	f.Add(whole, uint16(len(whole)))
	f.Fuzz(func(t *testing.T, header []byte, length uint16) {
		in, cmdKey := sealHeader(header, int(length))
		req, n, err := OpenRequest(in, cmdKey)
		if err != nil {
			return
		}
		plain, used, err := ParseHeader(header)
		if err != nil || plain != req || used != int(length) || n != len(in) {
			t.Errorf("%+v of %d bytes, the header is %+v of %d, %v", req, n, plain, used, err)
		}
	})
}

func FuzzOpenLegacyRequest(f *testing.F) {
	cmdKey := CmdKey(goldenUUID)
	f.Add(SealLegacyRequest(nil, cmdKey, [AuthIDSize]byte{1}, goldenTime, testRequest(), padding))
	f.Fuzz(func(t *testing.T, in []byte) {
		_, n, err := OpenLegacyRequest(in, cmdKey, goldenTime)
		if err == nil && n > len(in) {
			t.Errorf("%d bytes of %d", n, len(in))
		}
	})
}

func FuzzOpenResponse(f *testing.F) {
	s := Session{Request: testRequest()}
	f.Add(s.sealResponse(nil))
	f.Add([]byte{1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, in []byte) {
		if n, err := s.openResponse(in); err == nil && n > len(in) {
			t.Errorf("%d bytes of %d", n, len(in))
		}
		if n, err := s.openLegacyResponse(in, newCFB(s.Key, s.IV)); err == nil && n > len(in) {
			t.Errorf("legacy: %d bytes of %d", n, len(in))
		}
	})
}

func BenchmarkOpenRequest(b *testing.B) {
	in, cmdKey := sealTest(testRequest())
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := OpenRequest(in, cmdKey); err != nil {
			b.Fatal(err)
		}
	}
}

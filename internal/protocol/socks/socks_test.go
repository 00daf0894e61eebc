package socks

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	M "github.com/sagernet/sing/common/metadata"
)

func TestAppend(t *testing.T) {
	for _, tt := range []struct{ name, got, want string }{
		{"methods", string(AppendMethods(nil, MethodNone, MethodPassword)), "\x05\x02\x00\x02"},
		{"password", string(AppendPassword(nil, "user", "pw")), "\x01\x04user\x02pw"},
		{"connect", string(AppendRequest(nil, CommandConnect, M.ParseSocksaddr("a.io:80"))), "\x05\x01\x00\x03\x04a.io\x00\x50"},
		{"associate", string(AppendRequest(nil, CommandAssociate, M.ParseSocksaddr("0.0.0.0:0"))), "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"},
		{"4", string(AppendRequest4(nil, M.ParseSocksaddr("1.2.3.4:80"), "me")), "\x04\x01\x00\x50\x01\x02\x03\x04me\x00"},
		{"4a", string(AppendRequest4(nil, M.ParseSocksaddr("a.io:80"), "")), "\x04\x01\x00\x50\x00\x00\x00\x01\x00a.io\x00"},
		{"4a of IPv6", string(AppendRequest4(nil, M.ParseSocksaddr("[::1]:80"), "")), "\x04\x01\x00\x50\x00\x00\x00\x01\x00::1\x00"},
		{"datagram", string(AppendDatagram(nil, M.ParseSocksaddr("1.2.3.4:53"))), "\x00\x00\x00\x01\x01\x02\x03\x04\x00\x35"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, tt.got, tt.want)
		}
	}
}

// parsers by the answer that they read, each with its value as text.
var parsers = map[string]func(b []byte) (string, int, error){
	"method": func(b []byte) (string, int, error) {
		m, n, err := ParseMethod(b)
		return map[Method]string{MethodNone: "none", MethodPassword: "password"}[m], n, err
	},
	"password": func(b []byte) (string, int, error) { _, n, err := ParsePassword(b); return "", n, err },
	"reply":    func(b []byte) (string, int, error) { a, n, err := ParseReply(b); return a.String(), n, err },
	"reply 4":  func(b []byte) (string, int, error) { _, n, err := ParseReply4(b); return "", n, err },
	"datagram": func(b []byte) (string, int, error) { a, n, err := ParseDatagram(b, ""); return a.String(), n, err },
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		parser, in, want string
		err              error
		words            string
	}{
		{"method", "\x05\x00", "none", nil, ""},
		{"method", "\x05\x02", "password", nil, ""},
		{"method", "\x05\xff", "", ErrRefused, "every way to authenticate"},
		{"method", "\x05\x01", "", ErrBadAnswer, "0x01"},
		{"method", "H", "", ErrBadAnswer, "0x48"},
		{"password", "\x01\x00", "", nil, ""},
		{"password", "\x05\x00", "", nil, ""},
		{"password", "\x01\x01", "", ErrRefused, "user name and password"},
		{"reply", "\x05\x00\x00\x01\x01\x02\x03\x04\x00\x50", "1.2.3.4:80", nil, ""},
		{"reply", "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", "0.0.0.0:0", nil, ""},
		{"reply", "\x05\x00\x00\x03\x04a.io\x00\x50", "a.io:80", nil, ""},
		{"reply", "\x05\x00\x00\x03\x00\x00\x50", ":80", nil, ""},
		{"reply", "\x05\x05", "", ErrRefused, "connection refused"},
		{"reply", "\x05\x63", "", ErrRefused, "reply 99"},
		{"reply", "\x05\x00\x00\x09\x00", "", ErrBadAnswer, "address"},
		{"reply", "\x04", "", ErrBadAnswer, "0x04"},
		{"reply 4", "\x00\x5a\x00\x00\x00\x00\x00\x00", "", nil, ""},
		{"reply 4", "\x00\x5b", "", ErrRefused, "rejected"},
		{"reply 4", "\x00\x00", "", ErrRefused, "reply 0"},
		{"reply 4", "\x05", "", ErrBadAnswer, "0x05"},
		{"datagram", "\x00\x00\x00\x01\x01\x02\x03\x04\x00\x35", "1.2.3.4:53", nil, ""},
		{"datagram", "\x00\x00\x01\x01\x01\x02\x03\x04\x00\x35", "", ErrBadAnswer, "fragment"},
	} {
		parse := parsers[tt.parser]
		got, n, err := parse([]byte(tt.in + "rest"))
		if !errors.Is(err, tt.err) || err != nil && !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s %q: %v, want %v with %q", tt.parser, tt.in, err, tt.err, tt.words)
		}
		if err != nil {
			continue
		}
		if got != tt.want || n != len(tt.in) {
			t.Errorf("%s %q: %s and %d bytes, want %s and %d", tt.parser, tt.in, got, n, tt.want, len(tt.in))
		}
		for i := range n {
			if _, _, err := parse([]byte(tt.in[:i])); !errors.Is(err, ErrShort) {
				t.Errorf("%s: prefix of %d bytes: %v, want ErrShort", tt.parser, i, err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x05\x00\x00\x01\x01\x02\x03\x04\x00\x50rest"))
	f.Add([]byte("\x00\x5a\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x03\x04a.io\x00\x50"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for name, parse := range parsers {
			got, n, err := parse(in)
			if err != nil {
				continue
			}
			if n <= 0 || n > len(in) {
				t.Fatalf("%s: length %d of %d", name, n, len(in))
			}
			if again, m, err := parse(bytes.Clone(in[:n])); again != got || m != n || err != nil {
				t.Errorf("%s reads over its end: %v", name, err)
			}
		}
	})
}

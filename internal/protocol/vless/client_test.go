package vless

import (
	"errors"
	"testing"
)

func TestParseResponse(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		n        int
		err      error
	}{
		{"none", "\x00\x00payload", 2, nil},
		{"addons", "\x00\x03abcpayload", 5, nil},
		{"other version", "\x01", 0, ErrBadRequest},
		{"web server", "HTTP/1.1 400 Bad Request", 0, ErrBadRequest},
	} {
		n, err := ParseResponse([]byte(tt.in))
		if n != tt.n || !errors.Is(err, tt.err) {
			t.Errorf("%s: %d, %v; want %d, %v", tt.name, n, err, tt.n, tt.err)
		}
		for i := range n {
			if _, err := ParseResponse([]byte(tt.in[:i])); !errors.Is(err, ErrShort) {
				t.Errorf("%s: prefix of %d bytes: %v, want ErrShort", tt.name, i, err)
			}
		}
	}
}

func FuzzParseResponse(f *testing.F) {
	f.Add([]byte("\x00\x00x"))
	f.Add([]byte("\x00\x03abcx"))
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := ParseResponse(in)
		if err != nil {
			return
		}
		if n < 2 || n > len(in) || in[0] != Version || int(in[1]) != n-2 {
			t.Errorf("length %d of %x", n, in)
		}
	})
}

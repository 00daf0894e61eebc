package connect

import (
	"errors"
	"strings"
	"testing"
)

func TestAppendRequest(t *testing.T) {
	got := string(AppendRequest(nil, "[2001:db8::1]:443", []Field{BasicAuth("user", "pa:ss"), {"X-A", "b"}}))
	want := "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\nProxy-Authorization: Basic dXNlcjpwYTpzcw==\r\nX-A: b\r\n\r\n"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestParseAnswer(t *testing.T) {
	for _, tt := range []struct {
		in     string
		status int
		err    error
		words  string
	}{
		{"HTTP/1.1 200 Connection established\r\n\r\n", 200, nil, ""},
		{"HTTP/1.0 200\r\nVia: a\r\n\r\n", 200, nil, ""},
		{"HTTP/1.1 100 Continue\r\n\r\n", 100, nil, ""},
		{"HTTP/1.1 407 Proxy Authentication Required\r\nX: secret\r\n\r\n", 0, ErrRefused, "credentials"},
		{"HTTP/1.1 503 " + strings.Repeat("x", 1000) + "\r\n\r\n", 0, ErrRefused, "503"},
		{"HTTP/1.1 101 Switching\r\n\r\n", 0, ErrRefused, "101"},
		{"HTTP/1.1 20 OK\r\n\r\n", 0, ErrBadAnswer, "status"},
		{"HTTP/1.1 +20 OK\r\n\r\n", 0, ErrBadAnswer, "status"},
		{"HTTP/1.1\r\n\r\n", 0, ErrBadAnswer, "status"},
		{"HTTP/1.1 200 " + strings.Repeat("x", MaxAnswer), 0, ErrBadAnswer, "longer"},
		{"\x05", 0, ErrBadAnswer, ""},
	} {
		status, n, err := ParseAnswer([]byte(tt.in + "rest"))
		if !errors.Is(err, tt.err) || err != nil && (!strings.Contains(err.Error(), tt.words) || len(err.Error()) > 200) {
			t.Errorf("%.40q: %v, want %v with %q", tt.in, err, tt.err, tt.words)
		}
		if err != nil {
			continue
		}
		if status != tt.status || n != len(tt.in) {
			t.Errorf("%.40q: %d and %d bytes, want %d and %d", tt.in, status, n, tt.status, len(tt.in))
		}
		for i := range n {
			if _, _, err := ParseAnswer([]byte(tt.in[:i])); !errors.Is(err, ErrShort) {
				t.Errorf("prefix of %d bytes: %v, want ErrShort", i, err)
			}
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nA: b\r\n\r\nrest"))
	f.Add([]byte("HTTP/1.1 407\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		status, n, err := ParseAnswer(in)
		if err != nil {
			return
		}
		if status < 100 || status >= 300 || n > len(in) || !strings.HasSuffix(string(in[:n]), "\r\n\r\n") {
			t.Errorf("status %d, %d of %d bytes", status, n, len(in))
		}
		if _, _, err := ParseAnswer(in[:n-1]); !errors.Is(err, ErrShort) {
			t.Errorf("one byte less: %v, want ErrShort", err)
		}
	})
}

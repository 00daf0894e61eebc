package http1

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestResponse(t *testing.T) {
	for _, tt := range []struct {
		name, in, upgrade string
		status            int
		err               error
	}{
		{"switching", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "websocket", 101, nil},
		{"no reason", "HTTP/1.0 200\r\n\r\n", "", 200, nil},
		{"long reason", "HTTP/1.1 404 Not Found, really\r\nA: b\r\n\r\n", "", 404, nil},
		{"version 2", "HTTP/2.0 200 OK\r\n\r\n", "", 0, ErrBadResponse},
		{"garbage", "\x00\x00", "", 0, ErrBadResponse},
		{"no status", "HTTP/1.1 OK\r\n\r\n", "", 0, ErrBadResponse},
		{"letters", "HTTP/1.1 2x0 OK\r\n\r\n", "", 0, ErrBadResponse},
		{"long status", "HTTP/1.1 2000 OK\r\n\r\n", "", 0, ErrBadResponse},
		{"endless", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", MaxHead), "", 0, ErrBadResponse},
	} {
		r, n, err := ParseResponse([]byte(tt.in))
		if !errors.Is(err, tt.err) || r.Status != tt.status {
			t.Errorf("%s: %d, %v", tt.name, r.Status, err)
		}
		if err != nil {
			continue
		}
		if got, _ := r.Get("upgrade"); string(got) != tt.upgrade || n != len(tt.in) {
			t.Errorf("%s: %q, %d bytes", tt.name, got, n)
		}
		for i := range len(tt.in) {
			if _, _, err := ParseResponse([]byte(tt.in[:i])); !errors.Is(err, ErrShort) {
				t.Fatalf("%s: prefix of %d bytes: %v", tt.name, i, err)
			}
		}
	}
}

// Where both accept an answer, net/http reads the same status out of it.
func FuzzResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nrest"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, n, err := ParseResponse(in)
		if err != nil {
			return
		}
		if n > len(in) || !bytes.HasSuffix(in[:n], []byte("\r\n\r\n")) {
			t.Fatalf("%q: %d bytes", in, n)
		}
		theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(in[:n])), nil)
		if err == nil && theirs.StatusCode != r.Status {
			t.Errorf("%q: %d, want %d", in, r.Status, theirs.StatusCode)
		}
	})
}

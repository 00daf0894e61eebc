package trojan

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	M "github.com/sagernet/sing/common/metadata"
)

// key is KeyOf("password"): protocols.md Appendix B, made with another implementation.
const key = "d63dc919e201d7bc4c825630d2cf25fdc93d4b2f0d46706d29038d01"

func TestKeyOf(t *testing.T) {
	if got := KeyOf("password"); string(got[:]) != key {
		t.Errorf("key = %s, want %s", got, key)
	}
	if KeyOf("66ad4540-b58c-4ad2-9926-ea63445a9b57") == KeyOf("66AD4540-B58C-4AD2-9926-EA63445A9B57") {
		t.Error("the case of a password must count")
	}
}

func TestParseRequest(t *testing.T) {
	head := key + "\r\n"
	tail := "\x01\x01\x02\x03\x04\x00\x50\r\n"
	for _, tt := range []struct {
		name, in string
		command  Command
		dst      string
		err      error
	}{
		{"ipv4", head + "\x01" + tail, CommandTCP, "1.2.3.4:80", nil},
		{"udp", head + "\x03\x01\x00\x00\x00\x00\x00\x00\r\n", CommandUDP, "0.0.0.0:0", nil},
		{"host", head + "\x01\x03\x04a.io\x01\xbb\r\n", CommandTCP, "a.io:443", nil},
		{"literal", head + "\x01\x03\x071.2.3.4\x01\xbb\r\n", CommandTCP, "1.2.3.4:443", nil},
		{"mapped", head + "\x01\x04" + strings.Repeat("\x00", 10) + "\xff\xff\x01\x02\x03\x04\x00\x50\r\n", CommandTCP, "1.2.3.4:80", nil},

		{"prober", "GET / HTTP/1.1\r\n", 0, "", ErrBadRequest},
		{"upper case", "D6", 0, "", ErrBadRequest},
		{"last of the key", key[:55] + "g", 0, "", ErrBadRequest},
		{"no CR", key + "\n", 0, "", ErrBadRequest},
		{"no LF", key + "\r\r", 0, "", ErrBadRequest},
		{"command 2", head + "\x02", 0, "", ErrBadRequest},
		{"trojan-go mux", head + "\x7f", 0, "", ErrMux},
		{"address type", head + "\x01\x02", 0, "", ErrBadRequest},
		{"empty host", head + "\x01\x03\x00\x00\x50\r\n", 0, "", ErrBadRequest},
		{"second CR", head + "\x01\x01\x01\x02\x03\x04\x00\x50\n", 0, "", ErrBadRequest},
		{"second LF", head + "\x01\x01\x01\x02\x03\x04\x00\x50\rx", 0, "", ErrBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := tt.in
			if tt.err == nil {
				in += "payload"
			}
			req, n, err := ParseRequest([]byte(in))
			if !errors.Is(err, tt.err) {
				t.Fatalf("err = %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if string(req.Key[:]) != key || req.Command != tt.command || req.Destination.String() != tt.dst {
				t.Errorf("got %s %d %s, want %s %d %s", req.Key, req.Command, req.Destination, key, tt.command, tt.dst)
			}
			if n != len(tt.in) {
				t.Errorf("length = %d, want %d", n, len(tt.in))
			}
			for i := range n { // every prefix asks for more, none panics
				if _, _, err := ParseRequest([]byte(tt.in[:i])); !errors.Is(err, ErrShort) {
					t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
				}
			}
		})
	}
	if !errors.Is(ErrMux, ErrBadRequest) {
		t.Error("ErrMux must be a bad request")
	}
}

func TestAppendRequest(t *testing.T) {
	req := Request{Key: KeyOf("password"), Command: CommandTCP, Destination: M.ParseSocksaddr("a.io:443")}
	if got, want := string(AppendRequest(nil, req)), key+"\r\n\x01\x03\x04a.io\x01\xbb\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestParseRequestAllocs(t *testing.T) {
	in := AppendRequest(nil, Request{Key: KeyOf("password"), Command: CommandTCP, Destination: M.ParseSocksaddr("1.2.3.4:443")})
	if n := testing.AllocsPerRun(100, func() { _, _, _ = ParseRequest(in) }); n != 0 {
		t.Errorf("request: %v allocations, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _, _ = ParseRequest([]byte("GET / HTTP/1.1")) }); n != 0 {
		t.Errorf("prober: %v allocations, want 0", n)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(key + "\r\n\x01\x03\x04a.io\x01\xbb\r\nGET"))
	f.Add([]byte(key + "\r\n\x03\x01\x01\x02\x03\x04\x00\x50\r\n"))
	f.Add([]byte(key + "\r\n\x01\x03\x071.2.3.4\x01\xbb\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		req, n, err := ParseRequest(in)
		if err != nil {
			return
		}
		if _, _, err := ParseRequest(in[:n-1]); !errors.Is(err, ErrShort) {
			t.Errorf("one byte less: %v, want ErrShort", err)
		}
		if again, m, err := ParseRequest(bytes.Clone(in[:n])); err != nil || m != n || again != req {
			t.Errorf("reads over its end: %v", err)
		}
		out := AppendRequest(nil, req)
		if again, m, err := ParseRequest(out); err != nil || m != len(out) || again != req {
			t.Errorf("came back as %v, %d of %d bytes, %v; was %v", again, m, len(out), err, req)
		}
		if req.Destination.Fqdn != "" && !bytes.Equal(out, in[:n]) { // IPs have several spellings
			t.Errorf("not canonical:\n got %q\nwant %q", out, in[:n])
		}
	})
}

func BenchmarkParseRequest(b *testing.B) { // 0 allocs; TestParseRequestAllocs pins them
	in := AppendRequest(nil, Request{Key: KeyOf("password"), Command: CommandTCP, Destination: M.ParseSocksaddr("1.2.3.4:443")})
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = ParseRequest(in)
	}
}

package sniff

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// recorder is a connection that keeps what the client writes and then ends.
type recorder struct {
	net.Conn
	written []byte
}

func (r *recorder) Write(b []byte) (int, error) {
	r.written = append(r.written, b...)
	return len(b), nil
}
func (r *recorder) Read([]byte) (int, error)           { return 0, io.EOF }
func (r *recorder) SetDeadline(time.Time) error        { return nil }
func (r *recorder) SetReadDeadline(t time.Time) error  { return nil }
func (r *recorder) SetWriteDeadline(t time.Time) error { return nil }
func (r *recorder) Close() error                       { return nil }

// clientHello is a record with what crypto/tls sends first.
func clientHello(tb testing.TB, conf *tls.Config) []byte {
	tb.Helper()
	rec := new(recorder)
	if err := tls.Client(rec, conf).HandshakeContext(context.Background()); err == nil {
		tb.Fatal("handshake without a server")
	}
	if n := 5 + int(binary.BigEndian.Uint16(rec.written[3:])); n < len(rec.written) {
		return rec.written[:n] // the alert behind it
	}
	return rec.written
}

// fragment spreads the handshake of one record over records of n bytes.
func fragment(record []byte, n int) []byte {
	var out []byte
	for body := record[5:]; len(body) > 0; {
		n := min(n, len(body))
		out = append(out, 22, 3, 1, byte(n>>8), byte(n))
		out = append(out, body[:n]...)
		body = body[n:]
	}
	return out
}

func TestStreamTLS(t *testing.T) {
	hello := clientHello(t, &tls.Config{ServerName: "WWW.Example.org", NextProtos: []string{"h2"}})
	if len(hello) < 1000 {
		t.Fatalf("hello of %d bytes has no post-quantum share; the test wants a long one", len(hello))
	}
	tls12 := clientHello(t, &tls.Config{ServerName: "a.example", MaxVersion: tls.VersionTLS12})
	noSNI := clientHello(t, &tls.Config{ServerName: "1.2.3.4"})
	address := bytes.Replace(hello, []byte("WWW.Example.org"), []byte("123.123.123.123"), 1)
	strange := bytes.Replace(hello, []byte("WWW.Example.org"), []byte("WWW.Exa ple\x00org"), 1)
	for _, tt := range []struct {
		name, domain string
		in           []byte
	}{
		{"1.3", "www.example.org", hello},
		{"1.2", "a.example", tls12},
		{"no name", "", noSNI},
		{"an address", "", address},
		{"not a name", "", strange},
		{"two records", "www.example.org", fragment(hello, 900)},
		{"many records", "www.example.org", fragment(hello, 7)},
		{"early data", "www.example.org", append(bytes.Clone(hello), "\x17\x03\x03"...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Stream(tt.in)
			if err != nil || r != (Result{"tls", tt.domain}) {
				t.Fatalf("got %+v, %v, want tls %q", r, err, tt.domain)
			}
			for i := range len(tt.in) - 3 {
				if _, err := Stream(tt.in[:i]); !errors.Is(err, ErrMore) {
					t.Fatalf("prefix of %d bytes: err = %v, want ErrMore", i, err)
				}
			}
		})
	}
	if r, err := Stream(hello[:20]); r.Protocol != "tls" || !errors.Is(err, ErrMore) {
		t.Errorf("start of a hello = %+v, %v, want tls and ErrMore", r, err)
	}
	long := append([]byte{22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0, 3, 3}, make([]byte, MaxStream)...)
	copy(long[5+0x4000:], "GET / HTTP/1.1\r\n")
	if _, err := Stream(long); !errors.Is(err, ErrUnknown) {
		t.Errorf("garbage in a hello: %v, want ErrUnknown", err)
	}
}

func TestStream(t *testing.T) {
	for _, tt := range []struct {
		name, in, protocol, domain string
		err                        error
	}{
		{"get", "GET /a?b HTTP/1.1\r\nAccept: */*\r\nHost: Www.Example.org:8080\r\n", "http", "www.example.org", nil},
		{"bare newlines", "GET / HTTP/1.0\nhost:example.org.\n", "http", "example.org", nil},
		{"absolute form wins", "GET http://user@a.example:80/x HTTP/1.1\r\nHost: b.example\r\n", "http", "a.example", nil},
		{"connect", "CONNECT a.example:443 HTTP/1.1\r\n", "http", "a.example", nil},
		{"webdav", "PROPFIND /x HTTP/1.1\r\nHost: dav.example\r\n", "http", "dav.example", nil},
		{"no host", "GET / HTTP/1.0\r\nAccept: x\r\n\r\n", "http", "", nil},
		{"host is an address", "GET / HTTP/1.1\r\nHost: 1.2.3.4:80\r\n", "http", "", nil},
		{"host is an IPv6 address", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n", "http", "", nil},
		{"host is garbage", "GET / HTTP/1.1\r\nHost: a b\r\n", "http", "", nil},
		{"h2c", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http", "", nil},
		{"post starts like preface", "POST / HTTP/1.1\r\nHost: a.example\r\n", "http", "a.example", nil},
		{"tracker", "GET /x/announce?passkey=1&info_hash=%12 HTTP/1.0", "bittorrent", "", nil},
		{"scrape", "GET /scrape.php?info_hash=%12 HTTP/1.0", "bittorrent", "", nil},
		{"peer", "\x13BitTorrent protocol", "bittorrent", "", nil},
		{"ssh", "SSH-2.0-OpenSSH_9.6\r\n", "", "", ErrUnknown},
		{"socks", "\x05\x01\x00", "", "", ErrUnknown},
		{"other text", "GET  / HTTP/1.1\r\n", "", "", ErrUnknown},
		{"http 0.9", "GET /\r\n", "", "", ErrUnknown},
		{"other version", "GET / HTTP/3", "", "", ErrUnknown},
		{"control character", "GET /\x01", "", "", ErrUnknown},
		{"unknown method", "BREW / HTTP/1.1\r\n", "", "", ErrUnknown},
		{"alert record", "\x15\x03\x01\x00\x02", "", "", ErrUnknown},
		{"server hello", "\x16\x03\x03\x00\x40\x02", "", "", ErrUnknown},
		{"empty record", "\x16\x03\x03\x00\x00", "", "", ErrUnknown},
		{"huge hello", "\x16\x03\x03\x40\x00\x01\x01\x00\x00\x03", "", "", ErrUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Stream([]byte(tt.in))
			if !errors.Is(err, tt.err) || r != (Result{tt.protocol, tt.domain}) {
				t.Fatalf("got %+v, %v, want %q %q, %v", r, err, tt.protocol, tt.domain, tt.err)
			}
			if tt.err != nil {
				return
			}
			last := len(tt.in)
			for i := range last { // an answer may come early, but never a wrong one
				got, err := Stream([]byte(tt.in[:i]))
				if err != nil && !errors.Is(err, ErrMore) || err == nil && got != r {
					t.Fatalf("prefix of %d bytes: %+v, %v", i, got, err)
				}
			}
		})
	}
	endless := "GET / HTTP/1.1\r\nCookie: " + strings.Repeat("x", MaxStream)
	if r, err := Stream([]byte(endless)); err != nil || r.Protocol != "http" {
		t.Errorf("endless headers = %+v, %v, want http", r, err)
	}
	if _, err := Stream([]byte("GET /" + strings.Repeat("x", MaxStream))); !errors.Is(err, ErrUnknown) {
		t.Errorf("endless target: %v, want ErrUnknown", err)
	}
}

func TestHostname(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"Example.ORG.", "example.org"},
		{"_dmarc.a-b.example", "_dmarc.a-b.example"},
		{"localhost", "localhost"},
		{"", ""},
		{".", ""},
		{"a..b", ""},
		{".a", ""},
		{"1.2.3.4", ""},
		{"a b", ""},
		{"a/b", ""},
		{"\xff.example", ""},
		{strings.Repeat("a", 254), ""},
	} {
		if got := hostname(tt.in); got != tt.want {
			t.Errorf("hostname(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

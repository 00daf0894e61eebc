package proxyproto

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"heki/internal/netio"
)

// pair returns both ends of a TCP connection on loopback.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

func TestRead(t *testing.T) {
	header := Header{netip.MustParseAddrPort("192.0.2.1:8080"), netip.MustParseAddrPort("198.51.100.2:443")}
	v1, v2, local := string(AppendV1(nil, header)), string(AppendV2(nil, header)), string(AppendV2(nil, Header{}))
	for _, tt := range []struct {
		name, in string
		rest     string // what stays, when optional
		source   string
		err      error // when required
	}{
		{"v1", v1 + "hello", "hello", "192.0.2.1:8080", nil},
		{"v2", v2 + "hello", "hello", "192.0.2.1:8080", nil},
		{"v2 in v2", v2 + v2, v2, "192.0.2.1:8080", nil},
		{"local", local + "hello", "hello", "", nil},
		{"none", "hello", "hello", "", ErrMissing},
		{"bad", "PROXY what\r\nhello", "PROXY what\r\nhello", "", ErrBadHeader},
		{"cut", v1[:20], v1[:20], "", io.ErrUnexpectedEOF},
		{"cut v2", v2[:len(v2)-1], v2[:len(v2)-1], "", io.ErrUnexpectedEOF},
	} {
		for _, required := range []bool{false, true} {
			client, server := pair(t)
			if _, err := io.WriteString(client, tt.in); err != nil {
				t.Fatal(err)
			}
			client.(*net.TCPConn).CloseWrite()
			conn := netio.NewConn(server)
			source, destination, err := Read(conn, required)
			want := tt.err
			if !required {
				want = nil
			}
			if !errors.Is(err, want) {
				t.Errorf("%s, required %v: err = %v, want %v", tt.name, required, err, want)
			}
			if got := text(source); got != tt.source || destination.IsValid() != source.IsValid() {
				t.Errorf("%s: source %q to %v, want %q", tt.name, got, destination, tt.source)
			}
			if err != nil {
				continue
			}
			if rest, err := io.ReadAll(conn); string(rest) != tt.rest || err != nil {
				t.Errorf("%s, required %v: %q stays, %v, want %q", tt.name, required, rest, err, tt.rest)
			}
		}
	}
}

// A header that arrives byte by byte is one all the same, and no byte behind it is taken.
func TestReadSlowly(t *testing.T) {
	header := Header{netip.MustParseAddrPort("192.0.2.1:8080"), netip.MustParseAddrPort("198.51.100.2:443")}
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		for _, c := range append(AppendV2(nil, header), "hello"...) {
			client.Write([]byte{c})
		}
		client.Close()
	}()
	conn := netio.NewConn(server)
	source, _, err := Read(conn, true)
	if err != nil || source != header.Source {
		t.Fatal(source, err)
	}
	if rest, err := io.ReadAll(conn); string(rest) != "hello" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestReadDeadline(t *testing.T) {
	for _, tt := range []struct {
		sent     string
		required bool
		err      error
	}{
		{"", true, os.ErrDeadlineExceeded},
		{"", false, os.ErrDeadlineExceeded},
		{"PROXY TCP4", true, os.ErrDeadlineExceeded},
		{"PROXY TCP4", false, nil},
	} {
		client, server := pair(t)
		io.WriteString(client, tt.sent)
		server.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		conn := netio.NewConn(server)
		if _, _, err := Read(conn, tt.required); !errors.Is(err, tt.err) {
			t.Errorf("%q, required %v: %v, want %v", tt.sent, tt.required, err, tt.err)
		}
		if got := string(conn.Buffered()); got != tt.sent {
			t.Errorf("%q stays, want %q", got, tt.sent)
		}
		conn.Drop()
	}
}

// Behind a header the socket is found again: it is waited on without a buffer, and spliced.
func TestConnIsReplaceable(t *testing.T) {
	client, server := pair(t)
	io.WriteString(client, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
	conn := netio.NewConn(server)
	source, _, err := Read(conn, true)
	if err != nil {
		t.Fatal(err)
	}
	c := NewConn(conn, source)
	if netio.RawTCP(c) != server {
		t.Error("the socket is hidden")
	}
	if got := c.RemoteAddr().String(); got != "192.0.2.1:1" {
		t.Errorf("peer = %s", got)
	}
	if !strings.HasPrefix(c.LocalAddr().String(), "127.0.0.1:") {
		t.Errorf("local = %s, want the socket's", c.LocalAddr())
	}
	io.WriteString(client, "hello")
	if b, err := netio.NewConn(c).Peek(5); string(b) != "hello" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

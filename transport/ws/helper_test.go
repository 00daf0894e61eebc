package ws

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"go.uber.org/goleak"

	"heki/option"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clientFrame writes a masked frame the naive way.
func clientFrame(b []byte, b0 byte, key [4]byte, payload []byte) []byte {
	b = append(b, b0)
	switch n := len(payload); {
	case n <= 125:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, key[:]...)
	for i, c := range payload {
		b = append(b, c^key[i%4])
	}
	return b
}

func frame(b0 byte, payload string) []byte {
	return clientFrame(nil, b0, [4]byte{1, 2, 3, 4}, []byte(payload))
}

// readFrame reads a server's frame.
func readFrame(r io.Reader) (b0 byte, payload []byte, err error) {
	var h [10]byte
	if _, err := io.ReadFull(r, h[:2]); err != nil {
		return 0, nil, err
	}
	n := int(h[1])
	switch n {
	case 126:
		_, err = io.ReadFull(r, h[2:4])
		n = int(binary.BigEndian.Uint16(h[2:]))
	case 127:
		_, err = io.ReadFull(r, h[2:10])
		n = int(binary.BigEndian.Uint64(h[2:]))
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return h[0], payload, err
}

// pipe returns a client's side and a Conn.
func pipe(t testing.TB) (net.Conn, *Conn) {
	t.Helper()
	a, b := tcpPair(t)
	c := newConn(b, nil)
	t.Cleanup(func() { _, _ = a.Close(), c.Close() })
	return a, c
}

func tcpPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func newServer(t testing.TB, o option.Transport, trusted ...string) *Server {
	t.Helper()
	var prefixes []netip.Prefix
	for _, p := range trusted {
		prefixes = append(prefixes, netip.MustParsePrefix(p))
	}
	s, err := New(&o, prefixes)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve runs s on a connection. The handler echoes until EOF; what Serve returns comes from result.
func serve(t testing.TB, s *Server) (client net.Conn, source *netip.AddrPort, result chan error) {
	t.Helper()
	a, b := tcpPair(t)
	source, result = new(netip.AddrPort), make(chan error, 1)
	go func() {
		result <- s.Serve(context.Background(), b, func(_ context.Context, c net.Conn, from netip.AddrPort) {
			*source = from
			_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
			_ = c.Close()
		})
	}()
	t.Cleanup(func() { _ = a.Close() })
	return a, source, result
}

const upgradeHead = "GET %s HTTP/1.1\r\nHost: a.example:80\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n"

// request sends raw bytes and reads the answer.
func request(t testing.TB, c net.Conn, raw string) (*http.Response, *bufio.Reader) {
	t.Helper()
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp, r
}

func upgrade(path, more string) string { return fmt.Sprintf(upgradeHead, path, more) }

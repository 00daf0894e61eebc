package harness

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

// Page is the whole answer of a Web.
const Page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 22\r\nConnection: close\r\n\r\n<h1>An honest web</h1>"

// Web is a web server for fallbacks: it answers Page once a request's header has ended, or the
// client has finished, and keeps what it has read byte for byte.
type Web struct {
	Port uint16
	seen chan []byte
}

// StartWeb starts a Web on a free port and stops it with the test.
func StartWeb(t testing.TB) *Web {
	t.Helper()
	l, err := net.Listen("tcp", Loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Web{Port: PortOf(l.Addr()), seen: make(chan []byte, 64)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { w.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return w
}

// Seen is what the oldest connection not yet asked for has sent. It blocks until there is one.
func (w *Web) Seen() []byte { return <-w.seen }

func (w *Web) serve(conn net.Conn) {
	defer conn.Close()
	var got []byte
	chunk := make([]byte, 4<<10)
	for !bytes.Contains(got, []byte("\r\n\r\n")) {
		n, err := conn.Read(chunk)
		got = append(got, chunk[:n]...)
		if err != nil {
			break
		}
	}
	w.seen <- got
	io.WriteString(conn, Page)
	conn.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, conn)
}

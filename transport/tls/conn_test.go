package tls

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"os"
	"reflect"
	"sync"
	"testing"
	"time"

	"heki/internal/netio"
)

// TestLayout fails when a new release of Go or utls has moved the fields: look at rawinput.go and conn.go again.
func TestLayout(t *testing.T) {
	if !connLayout.known {
		t.Error("crypto/tls has changed")
	}
	if !utlsLayout.known {
		t.Error("metacubex/utls has changed")
	}
	if findLayout(reflect.TypeFor[struct{ rawInput []byte }]()).known {
		t.Error("an unknown layout is accepted")
	}
}

// readAll reads through the read waiter, or Read with odd sizes.
func readAll(c *Conn, wait bool) ([]byte, error) {
	var all []byte
	p := make([]byte, 40<<10)
	for {
		if !wait {
			n, err := c.Read(p[:1+mrand.IntN(len(p))])
			all = append(all, p[:n]...)
			if err != nil {
				return all, err
			}
			continue
		}
		b, err := c.WaitReadBuffer()
		if err != nil {
			return all, err
		}
		all = append(all, b.Bytes()...)
		netio.Put(b)
	}
}

func TestTransfer(t *testing.T) {
	data := make([]byte, 8<<20)
	_, _ = rand.Read(data)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, wait := range []bool{false, true} {
			for _, slow := range []bool{false, true} {
				name := fmt.Sprintf("%s wait=%v slow=%v", tls.VersionName(version), wait, slow)
				t.Run(name, func(t *testing.T) { testTransfer(t, version, wait, slow, data) })
			}
		}
	}
}

func testTransfer(t *testing.T, version uint16, wait, slow bool, data []byte) {
	client, server := connect(t, newServer(t, nil), &tls.Config{MaxVersion: version})
	if slow { // as if the layout was unknown
		server.lower.parked = false
		server.slow = netio.NewWaiter(struct{ io.Reader }{server.engine})
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		rest := data
		for len(rest) > 0 {
			n := min(len(rest), 1+mrand.IntN(50<<10))
			if _, err := client.Write(rest[:n]); err != nil {
				t.Error(err)
				return
			}
			rest = rest[n:]
		}
		if err := client.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	got, err := readAll(server, wait)
	if err != io.EOF || !bytes.Equal(got, data) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	wg.Wait()
	if _, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
	wg.Go(func() {
		_, err := server.Write(data)
		if err := errors.Join(err, server.CloseWrite()); err != nil {
			t.Error(err)
		}
	})
	if got, err = io.ReadAll(client); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("down: got %d bytes, %v", len(got), err)
	}
	wg.Wait()
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if server.held != nil {
		t.Error("a buffer is still held")
	}
}

// A connection that is no socket is read through a waiter, and one with unread bytes first.
func TestOverOther(t *testing.T) {
	s := newServer(t, nil)
	a, b := net.Pipe()
	client, server := handshake(t, s, a, b, nil)
	go func() {
		_, _ = client.Write([]byte("hello"))
		_ = client.Close()
	}()
	if got, err := readAll(server, true); string(got) != "hello" || err != io.EOF {
		t.Errorf("pipe: %q, %v", got, err)
	}
	_ = server.Close()

	a, b = tcpPair(t)
	go func() { _, _ = a.Write([]byte{'P'}) }()
	ahead := netio.NewConn(b)
	if _, err := ahead.Peek(1); err != nil {
		t.Fatal(err)
	}
	_, _ = ahead.Discard(1)
	client, server = handshake(t, s, a, ahead, nil)
	_, _ = client.Write([]byte("hello"))
	_ = client.CloseWrite()
	if got, err := readAll(server, true); string(got) != "hello" || err != io.EOF {
		t.Errorf("look-ahead: %q, %v", got, err)
	}
	if server.lower.raw == nil {
		t.Error("the socket below was not found")
	}
	_ = server.Close()
	_ = client.Close()
}

func TestDeadline(t *testing.T) {
	client, server := connect(t, newServer(t, nil), nil)
	for _, read := range []func() error{
		func() error { _, err := server.Read(make([]byte, 9)); return err },
		func() error { _, err := server.WaitReadBuffer(); return err },
	} {
		_ = server.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if err := read(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("err = %v", err)
		}
		done := make(chan error)
		_ = server.SetReadDeadline(time.Time{})
		go func() { done <- read() }()
		_ = server.SetReadDeadline(time.Unix(1, 0)) // wakes a wait that has begun
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("err = %v", err)
		}
		_ = server.SetReadDeadline(time.Time{})
		_, _ = client.Write([]byte("x"))
		if err := read(); err != nil {
			t.Fatalf("after the deadline: %v", err)
		}
	}
}

func TestPartialRecord(t *testing.T) {
	a, b := tcpPair(t)
	cut := &cutter{Conn: a}
	client, server := handshake(t, newServer(t, nil), cut, b, nil)
	cut.on = true
	want := bytes.Repeat([]byte("0123456789"), 3000)
	go func() {
		_, _ = client.Write(want)
		_ = client.Close()
	}()
	if got, err := readAll(server, true); !bytes.Equal(got, want) || err != io.EOF {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	_ = server.Close()

	a, b = tcpPair(t)
	client, server = handshake(t, newServer(t, nil), a, b, nil)
	_, _ = client.NetConn().Write([]byte{23, 3, 3, 0, 50, 1, 2})
	_ = a.Close()
	if _, err := server.WaitReadBuffer(); err != io.ErrUnexpectedEOF {
		t.Errorf("cut off: %v", err)
	}
	if _, err := server.Read(make([]byte, 1)); err != io.ErrUnexpectedEOF || server.held != nil {
		t.Errorf("again: %v, held %v", err, server.held)
	}
	_ = server.Close()
}

// cutter sends byte by byte.
type cutter struct {
	net.Conn
	on bool
}

func (c *cutter) Write(p []byte) (int, error) {
	if !c.on {
		return c.Conn.Write(p)
	}
	for i := range p {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

func TestBadRecord(t *testing.T) {
	client, server := connect(t, newServer(t, nil), nil)
	_, _ = client.NetConn().Write([]byte{23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
	if _, err := server.WaitReadBuffer(); err == nil {
		t.Fatal("forged record accepted")
	}
	_, err := client.Read(make([]byte, 1))
	if alert := tls.AlertError(0); !errors.As(err, &alert) && (err == nil || err.Error() != "remote error: tls: bad record MAC") {
		t.Errorf("client got %v", err)
	}
	client, server = connect(t, newServer(t, nil), nil)
	_, _ = client.NetConn().Write([]byte{23, 3, 3, 0xff, 0xff})
	if _, err := server.WaitReadBuffer(); err == nil || err == io.EOF {
		t.Errorf("oversized record: %v", err)
	}
}

func TestCloseIsQuick(t *testing.T) {
	for _, how := range []string{"idle", "full", "half-closing"} {
		t.Run(how, func(t *testing.T) {
			_, server := connect(t, newServer(t, nil), nil)
			var wg sync.WaitGroup
			if how != "idle" {
				_ = server.NetConn().(*net.TCPConn).SetWriteBuffer(4 << 10)
				_ = server.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
				for {
					if _, err := server.NetConn().Write(make([]byte, 1<<20)); err != nil {
						break
					}
				}
				_ = server.SetWriteDeadline(time.Time{})
			}
			if how == "half-closing" {
				wg.Go(func() { _ = server.CloseWrite() })
			}
			start := time.Now()
			_ = server.Close()
			if d := time.Since(start); d > closeTime+30*time.Second {
				t.Errorf("took %s", d)
			}
			wg.Wait()
		})
	}
}

func TestCloseEndsRead(t *testing.T) {
	_, server := connect(t, newServer(t, nil), nil)
	done := make(chan error)
	go func() {
		_, err := server.WaitReadBuffer()
		done <- err
	}()
	_ = server.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("err = %v", err)
	}
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("later: %v", err)
	}
}

func TestAllocs(t *testing.T) {
	client, server := connect(t, newServer(t, nil), nil)
	chunk := make([]byte, 16<<10)
	go func() { _, _ = io.Copy(io.Discard, client.NetConn()) }() // crypto/tls would allocate
	moved := func() {
		_, _ = client.Write(chunk)
		for n := 0; n < len(chunk); {
			b, err := server.WaitReadBuffer()
			if err != nil {
				t.Fatal(err)
			}
			n += b.Len()
			if _, err := server.Write(b.Bytes()); err != nil {
				t.Fatal(err)
			}
			netio.Put(b)
		}
	}
	for range 100 {
		moved()
	}
	if raceEnabled {
		return // the detector allocates
	}
	if n := testing.AllocsPerRun(200, moved); n >= 1 {
		t.Errorf("%v allocations a chunk", n)
	}
}

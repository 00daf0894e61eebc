package ws

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"heki/internal/netio"
	"heki/option"
)

// The first write goes with the request as far as may be, and all arrives once and in order.
func TestDialEarly(t *testing.T) {
	text := strings.Repeat("0123456789", 500)
	for _, header := range []string{"", protocolHeader, "X-Early"} {
		for _, n := range []int{0, 1, 2048, 2049, 5000} {
			for _, whole := range []bool{false, true} {
				o := option.Transport{Path: "/in", MaxEarlyData: 2048, EarlyDataHeaderName: header}
				client, server := tcpPair(t)
				early := make(chan int, 1)
				result := make(chan error, 1)
				go func() {
					result <- newServer(t, o).Serve(context.Background(), server, func(_ context.Context, c net.Conn, _ netip.AddrPort) {
						early <- len(c.(*Conn).early)
						_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
						_ = c.Close()
					})
				}()
				c := dialEarly(t, o, client)
				read := make(chan string, 1)
				go func() { // before the first write
					got := make([]byte, n+4)
					_, _ = io.ReadFull(c, got)
					read <- string(got)
				}()
				write(t, c, text[:n], whole)
				write(t, c, "next", whole)
				if got := <-read; got != text[:n]+"next" {
					t.Errorf("%q, %d bytes: %q", header, n, got)
				}
				if got := <-early; got != min(n, 2048) {
					t.Errorf("%q, %d bytes: %d were early", header, n, got)
				}
				_ = c.Close()
				if err := <-result; err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func dialEarly(t *testing.T, o option.Transport, conn net.Conn) *earlyConn {
	t.Helper()
	d, err := NewDialer(&o, "a.example")
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*earlyConn)
}

// write sends text as bytes or as a buffer.
func write(t *testing.T, c *earlyConn, text string, whole bool) {
	t.Helper()
	if !whole {
		if n, err := io.WriteString(c, text); n != len(text) || err != nil {
			t.Errorf("wrote %d of %d bytes, %v", n, len(text), err)
		}
		return
	}
	b := netio.Get()
	defer netio.Put(b)
	_, _ = b.WriteString(text)
	if err := c.WriteBuffer(netio.Filled(b)); err != nil {
		t.Error(err)
	}
}

func TestDialEarlyFails(t *testing.T) {
	o := option.Transport{Path: "/in", MaxEarlyData: 10}
	client, _, result := serve(t, newServer(t, option.Transport{Path: "/other"}))
	c := dialEarly(t, o, client)
	_, err1 := c.Write([]byte("x"))
	_, err2 := c.Write([]byte("x"))
	_, err3 := c.Read(make([]byte, 1))
	if !errors.Is(err1, ErrNoUpgrade) || !errors.Is(err2, ErrNoUpgrade) || !errors.Is(err3, ErrNoUpgrade) {
		t.Errorf("refused: %v, %v, %v", err1, err2, err3)
	}
	_ = c.Close()
	<-result

	// Closed before and while it asks: whoever waits is told.
	for _, asking := range []bool{false, true} {
		client, server := tcpPair(t)
		c := dialEarly(t, o, client)
		waiting := make(chan error, 1)
		go func() {
			_, err := c.WaitReadBuffer()
			waiting <- err
		}()
		wrote := make(chan error, 1)
		if asking {
			go func() {
				_, err := c.Write([]byte("x"))
				wrote <- err
			}()
			if _, err := io.ReadFull(server, make([]byte, len("GET "))); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.Close()
		if !asking {
			_, err := c.Write([]byte("x"))
			wrote <- err
		}
		if err1, err2 := <-waiting, <-wrote; !errors.Is(err1, net.ErrClosed) || !errors.Is(err2, net.ErrClosed) {
			t.Errorf("closed, asking %v: %v, %v", asking, err1, err2)
		}
		_ = server.Close()
	}
}

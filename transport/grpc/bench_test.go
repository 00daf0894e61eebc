package grpc

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"heki/internal/netio"
	"heki/option"
	"heki/transport/internal/transporttest"
)

const chunk = 32 << 10

// call1 makes one call whose handler is handle; the connection ends with b.
func call1(b testing.TB, handle func(c net.Conn)) *Conn {
	b.Helper()
	s := newServer(b, "x")
	client, server := transporttest.Pair(b)
	result := make(chan error, 1)
	go func() {
		result <- s.Serve(context.Background(), server, func(_ context.Context, c net.Conn, _ netip.AddrPort) {
			_ = c.SetDeadline(time.Time{})
			handle(c)
			_ = c.Close()
		})
	}()
	d, err := NewDialer(&option.Transport{ServiceName: "x"}, "a", false, func(context.Context) (net.Conn, error) { return client, nil })
	if err != nil {
		b.Fatal(err)
	}
	c, err := d.DialContext(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = d.Close()
		<-result
	})
	return c.(*Conn)
}

// give writes one chunk as the relay does.
func give(c *Conn) error {
	p := netio.Get()
	defer netio.Put(p)
	p.Truncate(chunk)
	return c.WriteBuffer(netio.Filled(p))
}

// take reads n bytes as the relay does.
func take(c *Conn, n int) error {
	for n > 0 {
		b, err := c.WaitReadBuffer()
		if err != nil {
			return err
		}
		n -= b.Len()
		netio.Put(b)
	}
	return nil
}

func BenchmarkUpload(b *testing.B) {
	got := make(chan error, 1)
	c := call1(b, func(c net.Conn) { got <- take(c.(*Conn), 1<<62) })
	b.SetBytes(chunk)
	b.ReportAllocs()
	for b.Loop() {
		if err := give(c); err != nil {
			b.Fatal(err)
		}
	}
	_ = c.CloseWrite()
	if err := <-got; err != io.EOF {
		b.Fatal(err)
	}
}

func BenchmarkDownload(b *testing.B) {
	c := call1(b, func(c net.Conn) {
		for give(c.(*Conn)) == nil {
		}
	})
	b.SetBytes(chunk)
	b.ReportAllocs()
	for b.Loop() {
		if err := take(c, chunk); err != nil {
			b.Fatal(err)
		}
	}
	_ = c.Close()
}

// A chunk costs no allocation, either way, on either side.
func TestChunkAllocs(t *testing.T) {
	if raceEnabled {
		return // sync.Pool forgets on purpose
	}
	c := call1(t, func(c net.Conn) {
		for take(c.(*Conn), chunk) == nil && give(c.(*Conn)) == nil {
		}
	})
	round := func() {
		if err := errors.Join(give(c), take(c, chunk)); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 { // windows grow at first
		round()
	}
	if n := testing.AllocsPerRun(500, round); n > 0 {
		t.Errorf("%v allocations a chunk there and back", n)
	}
	_ = c.Close()
}

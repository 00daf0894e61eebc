package ws

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"

	"heki/internal/netio"
	"heki/option"
)

func BenchmarkRead(b *testing.B) {
	client, c := pipe(b)
	in := clientFrame(nil, 0x82, [4]byte{1, 2, 3, 4}, make([]byte, 32<<10))
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if _, err := client.Write(in); err != nil {
				return
			}
		}
	})
	b.SetBytes(32 << 10)
	b.ReportAllocs()
	for b.Loop() {
		for n := 0; n < 32<<10; {
			p, err := c.WaitReadBuffer()
			if err != nil {
				b.Fatal(err)
			}
			n += p.Len()
			netio.Put(p)
		}
	}
	_ = client.Close()
	wg.Wait()
}

func BenchmarkWrite(b *testing.B) {
	client, c := pipe(b)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(io.Discard, struct{ io.Reader }{client}) })
	b.SetBytes(32 << 10)
	b.ReportAllocs()
	for b.Loop() {
		p := netio.Get()
		p.Truncate(32 << 10)
		if err := c.WriteBuffer(netio.Filled(p)); err != nil {
			b.Fatal(err)
		}
		netio.Put(p)
	}
	_ = c.Close()
	wg.Wait()
}

func BenchmarkUnmask(b *testing.B) {
	for _, n := range []int{64, 1400, 32 << 10} {
		p := make([]byte, n)
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				unmask(p, 0x01020304)
			}
		})
	}
}

func BenchmarkUpgrade(b *testing.B) {
	s := newServer(b, option.Transport{Path: "/ws"})
	in := []byte(upgrade("/ws", "Sec-WebSocket-Protocol: "+strings.Repeat("A", 400)+"\r\n"))
	b.ReportAllocs()
	for b.Loop() {
		c := &script{in: bytes.NewReader(in)}
		_ = s.Serve(context.Background(), c, func(context.Context, net.Conn, netip.AddrPort) {})
	}
}

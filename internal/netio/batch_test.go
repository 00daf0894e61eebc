//go:build linux

package netio

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
)

// packetSocket returns a socket bound to address.
func packetSocket(t testing.TB, network, address string) *PacketSocket {
	t.Helper()
	c, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewPacketSocket(c.(*net.UDPConn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func boundTo(s *PacketSocket) netip.AddrPort { return bound(s.UDPConn) }

func batchReader(t testing.TB, s *PacketSocket) *BatchReader {
	t.Helper()
	r, err := NewBatchReader(s.UDPConn)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// readAll reads n datagrams.
func readAll(t testing.TB, r *BatchReader, n int) []Datagram {
	t.Helper()
	var all []Datagram
	for len(all) < n {
		b, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range b.Datagrams() {
			all = append(all, d)
			b.Datagrams()[i].Buffer = nil
		}
		b.Put()
	}
	return all
}

// Datagrams of every size arrive whole, in order, with room around them.
func TestBatchSizes(t *testing.T) {
	in, out := packetSocket(t, "udp4", "127.0.0.1:0"), packetSocket(t, "udp4", "127.0.0.1:0")
	sizes := []int{0, 1, 1200, smallRead - 1, smallRead, smallRead + 1, 9000, 65507}
	r := batchReader(t, in)
	for range 3 { // the memory of a batch is used again
		for i, n := range sizes {
			if err := out.Send(bytes.Repeat([]byte{byte(i + 1)}, n), boundTo(in), netip.Addr{}); err != nil {
				t.Fatal(err)
			}
		}
		for i, d := range readAll(t, r, len(sizes)) {
			if !bytes.Equal(d.Buffer.Bytes(), bytes.Repeat([]byte{byte(i + 1)}, sizes[i])) {
				t.Errorf("%d bytes came as %d", sizes[i], d.Buffer.Len())
			}
			if d.Buffer.Start() != Headroom || d.Buffer.FreeLen() < Headroom {
				t.Errorf("%d bytes: room %d, %d", sizes[i], d.Buffer.Start(), d.Buffer.FreeLen())
			}
			if d.From != boundTo(out) || d.Local != netip.MustParseAddr("127.0.0.1") {
				t.Errorf("from %v to %v", d.From, d.Local)
			}
			Put(d.Buffer)
		}
	}
}

// More than a batch is there: nothing is lost or mixed up.
func TestBatchMany(t *testing.T) {
	in, out := packetSocket(t, "udp4", "127.0.0.1:0"), packetSocket(t, "udp4", "127.0.0.1:0")
	const count = 5*BatchSize + 3
	for i := range count {
		if err := out.Send(fmt.Appendf(nil, "%d", i), boundTo(in), netip.Addr{}); err != nil {
			t.Fatal(err)
		}
	}
	for i, d := range readAll(t, batchReader(t, in), count) {
		if got := string(d.Buffer.Bytes()); got != fmt.Sprint(i) {
			t.Fatalf("%d: %q", i, got)
		}
		Put(d.Buffer)
	}
}

// A socket bound to all addresses tells which one was reached, and answers from it.
func TestLocalAddress(t *testing.T) {
	for _, tt := range []struct{ network, bind, to string }{
		{"udp4", "0.0.0.0:0", "127.0.0.1"},
		{"udp4", "0.0.0.0:0", "127.0.0.2"},
		{"udp", "[::]:0", "127.0.0.3"},
		{"udp", "[::]:0", "::1"},
		{"udp4", "127.0.0.4:0", "127.0.0.4"},
		{"udp6", "[::1]:0", "::1"},
	} {
		t.Run(tt.bind+"_"+tt.to, func(t *testing.T) {
			if to := netip.MustParseAddr(tt.to); to.Is6() {
				if probe, err := net.ListenPacket("udp6", "[::1]:0"); err != nil {
					return // a machine without IPv6
				} else {
					_ = probe.Close()
				}
			}
			in := packetSocket(t, tt.network, tt.bind)
			client, err := net.Dial("udp", net.JoinHostPort(tt.to, fmt.Sprint(in.Port())))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if _, err := client.Write([]byte("ask")); err != nil {
				t.Fatal(err)
			}
			d := readAll(t, batchReader(t, in), 1)[0]
			if d.Local.String() != tt.to || d.From.String() != client.LocalAddr().String() {
				t.Fatalf("from %v to %v", d.From, d.Local)
			}
			if err := in.SendBatch([]*buf.Buffer{d.Buffer, d.Buffer}, d.From, d.Local); err != nil {
				t.Fatal(err)
			}
			Put(d.Buffer)
			_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
			for range 2 { // a connected socket takes nothing from another address
				b := make([]byte, 10)
				if n, err := client.Read(b); err != nil || string(b[:n]) != "ask" {
					t.Fatalf("%q, %v", b[:n], err)
				}
			}
		})
	}
}

func TestSendErrors(t *testing.T) {
	s := packetSocket(t, "udp4", "0.0.0.0:0")
	to := boundTo(packetSocket(t, "udp4", "127.0.0.1:0"))
	if err := s.Send([]byte("x"), netip.MustParseAddrPort("[2001:db8::1]:1"), netip.Addr{}); err == nil {
		t.Error("IPv6 from an IPv4 socket")
	}
	if err := s.Send([]byte("x"), netip.AddrPort{}, netip.Addr{}); err == nil {
		t.Error("sent nowhere")
	}
	if err := s.Send(make([]byte, 65508), to, netip.Addr{}); err == nil {
		t.Error("sent more than a datagram holds")
	}
	// An address that the machine no longer has: the answer leaves with another one.
	if err := s.Send([]byte("x"), to, netip.MustParseAddr("192.0.2.1")); err != nil {
		t.Error(err)
	}
	_ = s.Close()
	if err := s.Send([]byte("x"), to, netip.Addr{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("err = %v", err)
	}
	if _, err := batchReader(t, s).Read(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("err = %v", err)
	}
}

// Many goroutines send on one socket; nothing of one datagram gets into another.
func TestSendConcurrently(t *testing.T) {
	in, out := packetSocket(t, "udp4", "127.0.0.1:0"), packetSocket(t, "udp4", "127.0.0.1:0")
	const senders, each = 8, 20
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for range each {
				if err := out.Send(bytes.Repeat([]byte{byte(i)}, 100+i), boundTo(in), netip.Addr{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, d := range readAll(t, batchReader(t, in), senders*each) {
		b := d.Buffer.Bytes()
		if len(b) != 100+int(b[0]) || bytes.Count(b, b[:1]) != len(b) {
			t.Fatalf("%x", b)
		}
		Put(d.Buffer)
	}
	wg.Wait()
}

func TestBatchAllocs(t *testing.T) {
	if raceEnabled {
		return // the pools drop things on purpose
	}
	in, out := packetSocket(t, "udp", "[::]:0"), packetSocket(t, "udp4", "127.0.0.1:0")
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), in.Port())
	payload := make([]byte, 1200)
	r, back := batchReader(t, in), batchReader(t, out)
	got := testing.AllocsPerRun(1000, func() {
		_ = out.Send(payload, to, netip.Addr{})
		b, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		d := b.Datagrams()[0]
		_ = in.Send(d.Buffer.Bytes(), d.From, d.Local)
		b.Put()
		if b, err = back.Read(); err == nil {
			b.Put()
		}
	})
	if got > 0 {
		t.Errorf("%v allocations for a datagram each way", got)
	}
}

func BenchmarkBatch(b *testing.B) {
	for _, size := range []int{1, BatchSize} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			in, out := packetSocket(b, "udp4", "127.0.0.1:0"), packetSocket(b, "udp4", "127.0.0.1:0")
			bs := make([]*buf.Buffer, size)
			for i := range bs {
				bs[i] = buf.With(make([]byte, 1200))
				bs[i].Truncate(1200)
			}
			r, to := batchReader(b, in), boundTo(in)
			b.SetBytes(1200)
			b.ReportAllocs()
			for sent := 0; sent < b.N; sent += size {
				_ = out.SendBatch(bs, to, netip.Addr{})
				for got := 0; got < size; {
					batch, err := r.Read()
					if err != nil {
						b.Fatal(err)
					}
					got += len(batch.Datagrams())
					batch.Put()
				}
			}
		})
	}
}

// BenchmarkWaiter is the same with one system call for each datagram each way.
func BenchmarkWaiter(b *testing.B) {
	in, out := packetSocket(b, "udp4", "127.0.0.1:0"), packetSocket(b, "udp4", "127.0.0.1:0")
	w, err := NewPacketWaiter(in.UDPConn)
	if err != nil {
		b.Fatal(err)
	}
	payload, to := make([]byte, 1200), boundTo(in)
	b.SetBytes(1200)
	b.ReportAllocs()
	for range b.N {
		_, _ = out.WriteToUDPAddrPort(payload, to)
		buffer, _, err := w.Wait()
		if err != nil {
			b.Fatal(err)
		}
		Put(buffer)
	}
}

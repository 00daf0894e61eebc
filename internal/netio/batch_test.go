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
	"unsafe"

	"github.com/sagernet/sing/common/buf"
	"golang.org/x/sys/unix"
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

func boundTo(s *PacketSocket) netip.AddrPort { return AddrPort(s.UDPConn.LocalAddr()) }

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
			_ = client.SetReadDeadline(time.Now().Add(time.Minute))
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

// Datagrams that may be joined, and those that may not, arrive each as it was, in order.
func TestSendJoined(t *testing.T) {
	lo := func() (*PacketSocket, *PacketSocket) {
		return packetSocket(t, "udp", "[::]:0"), packetSocket(t, "udp4", "127.0.0.1:0")
	}
	for name, sizes := range map[string][]int{
		"one":       {1200},
		"equal":     {1200, 1200, 1200, 1200},
		"tail":      {1200, 1200, 5},
		"two runs":  {1200, 1200, 5, 5, 5, 900},
		"growing":   {1, 2, 3, 4},
		"shrinking": {4, 3, 2, 1},
		"empty":     {0, 0, 7, 0, 7, 7},
		"long":      {maxJoin + 1, maxJoin + 1, maxJoin, maxJoin, 9000},
		"too long":  {1200, 1200, 65508, 1200},
		"full":      {1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			out, in := lo()
			r := batchReader(t, in)
			_ = out.Send([]byte("first"), boundTo(in), netip.Addr{}) // from now on they arrive joined as well
			Put(readAll(t, r, 1)[0].Buffer)
			var bs []*buf.Buffer
			var want []int
			for i, n := range sizes {
				bs = append(bs, buf.As(bytes.Repeat([]byte{byte(i + 1)}, n)))
				if n < 65508 {
					want = append(want, i)
				}
			}
			err := out.SendBatch(bs, boundTo(in), netip.MustParseAddr("127.0.0.9"))
			if (err == nil) != (len(want) == len(sizes)) {
				t.Errorf("err = %v", err)
			}
			for k, d := range readAll(t, r, len(want)) {
				i := want[k]
				if !bytes.Equal(d.Buffer.Bytes(), bs[i].Bytes()) {
					t.Errorf("datagram %d of %d bytes came as %d", i, sizes[i], d.Buffer.Len())
				}
				if d.Buffer.Start() != Headroom || d.Buffer.FreeLen() < Headroom {
					t.Errorf("datagram %d: room %d, %d", i, d.Buffer.Start(), d.Buffer.FreeLen())
				}
				if d.From.Addr().String() != "127.0.0.9" {
					t.Errorf("datagram %d from %v", i, d.From)
				}
				Put(d.Buffer)
			}
		})
	}
}

// Joined datagrams are cut where they must be, at the border of the small buffer too.
func TestCut(t *testing.T) {
	for _, size := range []int{1, 7, 1000, 1024, 1452, smallRead - 1, smallRead, smallRead + 1, 5000} {
		r := newReceiver()
		r.prepare(1)
		whole := make([]byte, 3*size+size/2+1)
		for i := range whole {
			whole[i] = byte(i / size)
		}
		n := copy(r.smalls[0].FreeBytes()[:smallRead], whole)
		copy(r.rest, whole[n:])
		r.messages[0].len = uint32(len(whole))
		c := (*unix.Cmsghdr)(unsafe.Pointer(&r.controls[0].bytes[0]))
		c.Level, c.Type = unix.IPPROTO_UDP, unix.UDP_GRO
		c.SetLen(unix.CmsgLen(4))
		*(*int32)(unsafe.Pointer(&r.controls[0].bytes[unix.CmsgLen(0)])) = int32(size)
		r.messages[0].hdr.SetControllen(unix.CmsgSpace(4))
		all := r.take(nil, 0, netip.MustParseAddr("127.0.0.1"))
		if len(all) != 4 {
			t.Fatalf("%d bytes: %d datagrams", size, len(all))
		}
		for i, d := range all {
			want := whole[i*size : min((i+1)*size, len(whole))]
			if !bytes.Equal(d.Buffer.Bytes(), want) {
				t.Errorf("%d bytes: datagram %d has %d", size, i, d.Buffer.Len())
			}
			Put(d.Buffer)
		}
	}
}

// Control messages are the kernel's, but nothing in them is trusted.
func FuzzParseControl(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, unix.SizeofCmsghdr))
	f.Add(bytes.Repeat([]byte{0xff}, controlSize))
	w := newSender()
	n := w.sourceFrom(true, netip.MustParseAddr("2001:db8::1"))
	f.Add(bytes.Clone(w.source.bytes[:n]))
	f.Fuzz(func(t *testing.T, in []byte) {
		var c control
		local, size := parseControl(c.bytes[:copy(c.bytes[:], in)])
		if size < 0 || local.Is4In6() {
			t.Errorf("%v, %d", local, size)
		}
	})
}

// A network that does not take joined datagrams gets them one by one, and is not asked again.
func TestSendRefusedJoin(t *testing.T) {
	out, in := packetSocket(t, "udp4", "127.0.0.1:0"), packetSocket(t, "udp4", "127.0.0.1:0")
	for _, tt := range []struct {
		errno  unix.Errno
		joined int32
	}{
		{unix.EINVAL, 999}, // the path has a small MTU
		{unix.EIO, 0},      // the card cannot cut
		{unix.EPERM, maxJoin},
	} {
		out.join.Store(maxJoin)
		w := newSender()
		for i := range 4 {
			w.add(bytes.Repeat([]byte{byte(i)}, 1000))
		}
		flush := w.attempt
		w.attempt = func(fd uintptr) {
			w.failed(tt.errno) // what the kernel said of the joined message
			flush(fd)
		}
		if err := w.send(out, boundTo(in), netip.Addr{}); err != nil {
			t.Error(err)
		}
		for i, d := range readAll(t, batchReader(t, in), 4) {
			if d.Buffer.Len() != 1000 || d.Buffer.Bytes()[0] != byte(i) {
				t.Errorf("datagram %d came as %d bytes", i, d.Buffer.Len())
			}
			Put(d.Buffer)
		}
		if got := out.join.Load(); got != tt.joined {
			t.Errorf("%v: joins up to %d bytes, want %d", tt.errno, got, tt.joined)
		}
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

// cpu is the time this process has worked, which a busy machine does not change much.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSend sends and receives datagrams of 1200 bytes, so many at a time.
func BenchmarkSend(b *testing.B) {
	for _, bench := range []struct {
		name       string
		size, join int
	}{{"1", 1, 0}, {"16", BatchSize, 0}, {"16 joined", BatchSize, maxJoin}} {
		b.Run(bench.name, func(b *testing.B) {
			in, out := packetSocket(b, "udp4", "127.0.0.1:0"), packetSocket(b, "udp4", "127.0.0.1:0")
			out.join.Store(int32(bench.join))
			bs := make([]*buf.Buffer, bench.size)
			for i := range bs {
				bs[i] = buf.As(make([]byte, 1200))
			}
			r, to := batchReader(b, in), boundTo(in)
			b.SetBytes(1200)
			b.ReportAllocs()
			began := cpu(b)
			for sent := 0; sent < b.N; sent += bench.size {
				_ = out.SendBatch(bs, to, netip.Addr{})
				for got := 0; got < bench.size; {
					batch, err := r.Read()
					if err != nil {
						b.Fatal(err)
					}
					got += len(batch.Datagrams())
					batch.Put()
				}
			}
			b.ReportMetric(float64(cpu(b)-began)/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkWaiter is the same with net.UDPConn and a PacketWaiter.
func BenchmarkWaiter(b *testing.B) {
	in, out := packetSocket(b, "udp4", "127.0.0.1:0"), packetSocket(b, "udp4", "127.0.0.1:0")
	w, err := NewPacketWaiter(in.UDPConn)
	if err != nil {
		b.Fatal(err)
	}
	payload, to := make([]byte, 1200), boundTo(in)
	b.SetBytes(1200)
	b.ReportAllocs()
	began := cpu(b)
	for range b.N {
		_, _ = out.WriteToUDPAddrPort(payload, to)
		buffer, _, err := w.Wait()
		if err != nil {
			b.Fatal(err)
		}
		Put(buffer)
	}
	b.ReportMetric(float64(cpu(b)-began)/float64(b.N), "cpu-ns/op")
}

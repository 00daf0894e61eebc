package trojan

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire/wiretest"
)

// frame encodes one packet.
func frame(addr, payload string) string {
	return string(AppendFrame(nil, Frame{M.ParseSocksaddr(addr), len(payload)})) + payload
}

func TestParseFrame(t *testing.T) {
	for _, tt := range []struct {
		name, in, addr string
		length         int
		err            error
	}{
		{"ipv4", "\x01\x01\x02\x03\x04\x00\x35\x00\x05\r\n", "1.2.3.4:53", 5, nil},
		{"empty", "\x01\x01\x02\x03\x04\x00\x35\x00\x00\r\n", "1.2.3.4:53", 0, nil},
		{"longest", "\x03\x04a.io\x00\x35\xff\xff\r\n", "a.io:53", 65535, nil},
		{"no CRLF", "\x01\x01\x02\x03\x04\x00\x35\x00\x05\n", "", 0, ErrBadRequest},
		{"type", "\x02", "", 0, ErrBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, n, err := ParseFrame([]byte(tt.in), "")
			if !errors.Is(err, tt.err) {
				t.Fatalf("err = %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if f.Address.String() != tt.addr || f.Length != tt.length || n != len(tt.in) {
				t.Errorf("got %s %d, %d bytes, want %s %d, %d", f.Address, f.Length, n, tt.addr, tt.length, len(tt.in))
			}
			if n != headerSize([]byte(tt.in)) {
				t.Errorf("headerSize = %d, want %d", headerSize([]byte(tt.in)), n)
			}
			if got := string(AppendFrame(nil, f)); got != tt.in {
				t.Errorf("encoded as %q, want %q", got, tt.in)
			}
			for i := range n { // every prefix asks for more, none panics
				if _, _, err := ParseFrame([]byte(tt.in[:i]), ""); !errors.Is(err, ErrShort) {
					t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
				}
			}
		})
	}
}

func TestPacketConnEachFrameHasItsAddress(t *testing.T) {
	big := strings.Repeat("b", MaxPacket)
	in := frame("1.2.3.4:53", "one") + frame("a.io:53", "") + frame("a.io:54", "three") + frame("[::1]:1", big)
	c := NewPacketConn(wiretest.New(strings.NewReader(in)))
	b := buf.NewSize(MaxPacket)
	defer b.Release()
	for _, want := range []struct{ addr, payload string }{
		{"1.2.3.4:53", "one"}, {"a.io:53", ""}, {"a.io:54", "three"}, {"[::1]:1", big},
	} {
		b.Reset()
		addr, err := c.ReadPacket(b)
		if err != nil || addr.String() != want.addr || string(b.Bytes()) != want.payload {
			t.Fatalf("got %d bytes for %s, %v, want %d for %s", b.Len(), addr, err, len(want.payload), want.addr)
		}
	}
	if _, err := c.ReadPacket(b); err != io.EOF {
		t.Errorf("end between frames: %v, want EOF", err)
	}
}

func TestPacketConnEndsInsideAFrame(t *testing.T) {
	whole := frame("a.io:53", "payload")
	for i := 1; i < len(whole); i++ {
		c := NewPacketConn(wiretest.New(strings.NewReader(whole[:i])))
		if _, _, err := c.WaitReadPacket(); err != io.ErrUnexpectedEOF {
			t.Errorf("%d bytes: %v, want ErrUnexpectedEOF", i, err)
		}
	}
}

func TestPacketConnSkipsWhatDoesNotFit(t *testing.T) {
	c := NewPacketConn(wiretest.New(strings.NewReader(frame("a.io:53", "too long") + frame("a.io:54", "fits"))))
	b := buf.NewSize(4)
	defer b.Release()
	if addr, err := c.ReadPacket(b); err != nil || addr.Port != 54 || string(b.Bytes()) != "fits" {
		t.Errorf("got %q for %s, %v", b.Bytes(), addr, err)
	}
}

func TestPacketConnMalformedFrameIsFinal(t *testing.T) {
	c := NewPacketConn(wiretest.New(strings.NewReader("\x09 and more than eleven bytes")))
	if _, _, err := c.WaitReadPacket(); !errors.Is(err, ErrBadRequest) {
		t.Errorf("%v, want ErrBadRequest", err)
	}
}

func TestPacketConnWrite(t *testing.T) {
	for _, room := range []int{0, maxHeader} {
		fake := wiretest.New(strings.NewReader(""))
		c := NewPacketConn(fake)
		var want []string
		for _, addr := range []string{"1.2.3.4:53", "[::1]:53", "a.io:53"} {
			b := buf.NewSize(room + 5)
			b.Resize(room, 0)
			_, _ = b.WriteString("reply")
			if err := c.WritePacket(b, M.ParseSocksaddr(addr)); err != nil {
				t.Fatal(err)
			}
			want = append(want, frame(addr, "reply"))
		}
		if err := c.WritePacket(buf.As(make([]byte, MaxPacket+1)), M.ParseSocksaddr("1.2.3.4:53")); err != nil {
			t.Error(err)
		}
		if got := fake.Writes(); !slices.Equal(got, want) {
			t.Errorf("room %d: writes = %q, want %q", room, got, want)
		}
	}
}

// A read deadline in the middle of a frame loses that packet at most, never the place.
func TestPacketConnReadsOnAfterTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local, remote := net.Pipe()
		defer local.Close()
		defer remote.Close()
		c := NewPacketConn(wiretest.NewPeeker(local))
		big := frame("a.io:1", strings.Repeat("x", 10_000))
		go func() {
			_, _ = remote.Write([]byte(big[:5]))
			time.Sleep(2 * time.Second)
			_, _ = remote.Write([]byte(big[5:5000]))
			time.Sleep(2 * time.Second)
			_, _ = remote.Write([]byte(big[5000:] + frame("a.io:2", "next")))
		}()
		for i := range 2 { // once in the header, once in the payload
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			if _, _, err := c.WaitReadPacket(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("read %d: %v, want a timeout", i, err)
			}
			_ = c.SetReadDeadline(time.Time{})
			time.Sleep(2 * time.Second)
		}
		for {
			b, addr, err := c.WaitReadPacket()
			if err != nil {
				t.Fatal(err)
			}
			length := b.Len()
			b.Release()
			if addr.Port == 2 {
				if length != 4 {
					t.Errorf("%d bytes, want 4", length)
				}
				return
			}
		}
	})
}

func TestPacketConnReadWaitRoom(t *testing.T) {
	c := NewPacketConn(wiretest.New(strings.NewReader(frame("a.io:53", "payload"))))
	c.InitializeReadWaiter(N.ReadWaitOptions{FrontHeadroom: 10, RearHeadroom: 20})
	b, _, err := c.WaitReadPacket()
	if err != nil || string(b.Bytes()) != "payload" || b.Start() != 10 || b.FreeLen() != 20 {
		t.Errorf("%q at %d, %d free, %v", b.Bytes(), b.Start(), b.FreeLen(), err)
	}
	b.Release()
}

func TestPacketConnAllocs(t *testing.T) {
	for _, addr := range []string{"1.2.3.4:53", "www.example.com:443"} {
		fake := wiretest.NewDiscard(&wiretest.Cycle{B: []byte(frame(addr, strings.Repeat("x", 1200)))})
		c, b := NewPacketConn(fake), buf.With(make([]byte, 2048))
		if n := testing.AllocsPerRun(100, func() { echo(t, c, b) }); n != 0 {
			t.Errorf("%s: %v allocations for a packet each way, want 0", addr, n)
		}
	}
}

// echo reads a packet into b and writes it back.
func echo(t testing.TB, c *PacketConn, b *buf.Buffer) {
	b.Resize(maxHeader, 0)
	from, err := c.ReadPacket(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.WritePacket(b, from); err != nil {
		t.Fatal(err)
	}
}

func FuzzPacketConn(f *testing.F) {
	f.Add([]byte(frame("1.2.3.4:53", "one") + frame("a.io:53", "") + "\x03"))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := NewPacketConn(wiretest.New(bytes.NewReader(in)))
		var out []byte
		for {
			b, addr, err := c.WaitReadPacket()
			if err != nil {
				break
			}
			out = AppendFrame(out, Frame{addr, b.Len()})
			out = append(out, b.Bytes()...)
			b.Release()
		}
		// What was read, written and read again is the same.
		c = NewPacketConn(wiretest.New(bytes.NewReader(out)))
		var again []byte
		for {
			b, addr, err := c.WaitReadPacket()
			if err != nil {
				break
			}
			again = AppendFrame(again, Frame{addr, b.Len()})
			again = append(again, b.Bytes()...)
			b.Release()
		}
		if !bytes.Equal(again, out) {
			t.Errorf("got  %q\nwant %q", again, out)
		}
	})
}

func BenchmarkPacketEcho(b *testing.B) { // 0 allocs; TestPacketConnAllocs pins them
	fake := wiretest.NewDiscard(&wiretest.Cycle{B: []byte(frame("1.2.3.4:53", strings.Repeat("x", 1200)))})
	c, packet := NewPacketConn(fake), buf.With(make([]byte, 2048))
	b.SetBytes(1200)
	b.ReportAllocs()
	for b.Loop() {
		echo(b, c, packet)
	}
}

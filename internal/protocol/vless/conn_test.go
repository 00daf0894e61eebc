package vless

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire/wiretest"
)

func TestServerConnSendsTheHeaderOnce(t *testing.T) {
	fake := wiretest.New(strings.NewReader("up"))
	c := NewServerConn(fake)
	if c.WriterReplaceable() || !c.NeedHandshakeForWrite() || c.FrontHeadroom() != 2 || !c.ReaderReplaceable() {
		t.Error("before the header: must not be replaceable as a writer, must be as a reader")
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "up" {
		t.Errorf("read %q, %v", got, err)
	}
	for _, s := range []string{"one", "two"} {
		if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
			t.Errorf("write %q: %d, %v", s, n, err)
		}
	}
	if got, want := fake.Writes(), []string{"\x00\x00one", "two"}; !slices.Equal(got, want) {
		t.Errorf("writes = %q, want %q", got, want)
	}
	if !c.WriterReplaceable() || c.NeedHandshakeForWrite() || c.FrontHeadroom() != 0 {
		t.Error("after the header: must be replaceable as a writer")
	}
	if N.UnwrapWriter(c) != io.Writer(fake) || N.UnwrapReader(c) != io.Reader(fake) {
		t.Error("does not unwrap to the inner connection")
	}
}

func TestServerConnWriteBuffer(t *testing.T) {
	for _, tt := range []struct {
		name string
		room int
	}{{"with room", 2}, {"without room", 1}} {
		t.Run(tt.name, func(t *testing.T) {
			fake := wiretest.New(strings.NewReader(""))
			c := NewServerConn(fake)
			for _, s := range []string{"one", "two"} {
				if err := c.WriteBuffer(filled(tt.room, s)); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := fake.Writes(), []string{"\x00\x00one", "two"}; !slices.Equal(got, want) {
				t.Errorf("writes = %q, want %q", got, want)
			}
		})
	}
}

// filled returns a buffer with room bytes in front of s.
func filled(room int, s string) *buf.Buffer {
	b := buf.NewSize(room + len(s) + 1)
	b.Resize(room, 0)
	_, _ = b.WriteString(s)
	return b
}

func TestServerConnLargeFirstWrite(t *testing.T) {
	fake := wiretest.New(strings.NewReader(""))
	c := NewServerConn(fake)
	big := strings.Repeat("x", 1<<20)
	if n, err := c.Write([]byte(big)); n != len(big) || err != nil {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if got := strings.Join(fake.Writes(), ""); got != "\x00\x00"+big {
		t.Errorf("%d bytes came out wrong", len(got))
	}
}

func TestServerConnCloseWrite(t *testing.T) {
	fake := wiretest.New(strings.NewReader(""))
	c := NewServerConn(fake)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := fake.Writes(); !slices.Equal(got, []string{"\x00\x00"}) || !fake.HalfClosed() {
		t.Errorf("writes = %q, half closed %v: want the header, then the half-close", got, fake.HalfClosed())
	}
	local, remote := net.Pipe()
	defer remote.Close()
	defer local.Close()
	go io.ReadFull(remote, make([]byte, 2)) // the header
	if err := NewServerConn(wiretest.NewPeeker(local)).CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("without half-close below: %v, want ErrUnsupported", err)
	}
}

func TestServerConnWriteError(t *testing.T) {
	fake := wiretest.New(strings.NewReader(""))
	fake.FailWrites(io.ErrClosedPipe)
	c := NewServerConn(fake)
	if n, err := c.Write([]byte("x")); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("wrote %d, %v", n, err)
	}
	if err := c.WriteBuffer(filled(2, "x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write buffer: %v", err)
	}
	if err := NewServerConn(fake).CloseWrite(); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("close write: %v", err)
	}
}

func TestPacketConn(t *testing.T) {
	dst := M.ParseSocksaddr("a.io:53")
	big := strings.Repeat("b", MaxPacket)
	fake := wiretest.New(strings.NewReader("\x00\x01a" + "\x00\x00" + "\xff\xff" + big + "\x00\x02zz" + "\x00\x05cut"))
	c := NewPacketConn(fake, dst)

	b := buf.NewSize(16)
	defer b.Release()
	if from, err := c.ReadPacket(b); err != nil || from != dst || string(b.Bytes()) != "a" {
		t.Errorf("read %q of %s, %v", b.Bytes(), from, err)
	}
	b.Reset()
	if _, err := c.ReadPacket(b); err != nil || string(b.Bytes()) != "zz" {
		t.Errorf("after an empty packet and one that does not fit: %q, %v", b.Bytes(), err)
	}
	if _, err := c.ReadPacket(b); err != io.ErrUnexpectedEOF {
		t.Errorf("cut frame: %v, want ErrUnexpectedEOF", err)
	}

	for _, s := range []string{"", "one", "two"} {
		if err := c.WritePacket(filled(2, s), M.ParseSocksaddr("9.9.9.9:9")); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.WritePacket(filled(4, big+"b"), dst); err != nil {
		t.Fatal(err)
	}
	if got, want := fake.Writes(), []string{"\x00\x00\x00\x03one", "\x00\x03two"}; !slices.Equal(got, want) {
		t.Errorf("writes = %q, want %q", got, want)
	}
	if got := N.CalculateFrontHeadroom(NewPacketConn(fake, dst)); got != 4 {
		t.Errorf("headroom = %d, want 4", got)
	}
}

func TestPacketConnReadWait(t *testing.T) {
	big := strings.Repeat("b", MaxPacket)
	c := NewPacketConn(wiretest.New(strings.NewReader("\xff\xff"+big+"\x00")), M.ParseSocksaddr("a.io:53"))
	c.InitializeReadWaiter(N.ReadWaitOptions{FrontHeadroom: 10, RearHeadroom: 20})
	b, _, err := c.WaitReadPacket()
	if err != nil || string(b.Bytes()) != big || b.Start() != 10 || b.FreeLen() != 20 {
		t.Fatalf("%d bytes at %d, %d free, %v", b.Len(), b.Start(), b.FreeLen(), err)
	}
	b.Release()
	if _, _, err := c.WaitReadPacket(); err != io.ErrUnexpectedEOF {
		t.Errorf("half a length: %v, want ErrUnexpectedEOF", err)
	}
	c = NewPacketConn(wiretest.New(strings.NewReader("")), M.Socksaddr{})
	if _, _, err := c.WaitReadPacket(); err != io.EOF {
		t.Errorf("end between frames: %v, want EOF", err)
	}
}

func TestPacketConnAllocs(t *testing.T) {
	frame := append([]byte{4, 176}, make([]byte, 1200)...)
	c := NewPacketConn(wiretest.NewDiscard(&wiretest.Cycle{B: frame}), M.ParseSocksaddr("1.2.3.4:53"))
	b := buf.With(make([]byte, 2048))
	if n := testing.AllocsPerRun(100, func() { echo(t, c, b) }); n != 0 {
		t.Errorf("%v allocations for a packet each way, want 0", n)
	}
}

// echo reads a packet into b and writes it back.
func echo(t testing.TB, c *PacketConn, b *buf.Buffer) {
	b.Resize(64, 0)
	from, err := c.ReadPacket(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.WritePacket(b, from); err != nil {
		t.Fatal(err)
	}
}

func FuzzPacketConn(f *testing.F) {
	f.Add([]byte("\x00\x01a\x00\x00\x00\x02zz\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := NewPacketConn(wiretest.New(strings.NewReader(string(in))), M.ParseSocksaddr("a.io:53"))
		total := 0
		for {
			b, _, err := c.WaitReadPacket()
			if err != nil {
				break
			}
			if b.IsEmpty() {
				t.Error("an empty packet")
			}
			total += b.Len() + lengthSize
			b.Release()
		}
		if total > len(in) {
			t.Errorf("%d bytes of frames out of %d", total, len(in))
		}
	})
}

func BenchmarkPacketEcho(b *testing.B) { // 0 allocs; TestPacketConnAllocs pins them
	frame := append([]byte{4, 176}, make([]byte, 1200)...)
	c := NewPacketConn(wiretest.NewDiscard(&wiretest.Cycle{B: frame}), M.ParseSocksaddr("1.2.3.4:53"))
	packet := buf.With(make([]byte, 2048))
	b.SetBytes(1200)
	b.ReportAllocs()
	for b.Loop() {
		echo(b, c, packet)
	}
}

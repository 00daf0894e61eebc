package uot

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/wire/wiretest"
)

func TestParseRequest(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     Request
		err      error
	}{
		{"any", "\x00\x01\x01\x02\x03\x04\x00\x35", Request{false, M.ParseSocksaddr("1.2.3.4:53")}, nil},
		{"one", "\x01\x03\x04a.io\x00\x35", Request{true, M.ParseSocksaddr("a.io:53")}, nil},
		{"neither", "\x02", Request{}, ErrBadRequest},
		{"address", "\x00\x02", Request{}, ErrBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, n, err := ParseRequest([]byte(tt.in + "rest"))
			if !errors.Is(err, tt.err) {
				t.Fatalf("err = %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if r != tt.want || n != len(tt.in) || string(AppendRequest(nil, r)) != tt.in {
				t.Errorf("got %+v, %d bytes, want %+v, %d", r, n, tt.want, len(tt.in))
			}
			for i := range n { // every prefix asks for more, none panics
				if _, _, err := ParseRequest([]byte(tt.in[:i])); !errors.Is(err, ErrShort) {
					t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
				}
			}
		})
	}
}

func TestParsePacket(t *testing.T) {
	in := "\x02\x04a.io\x00\x35\x01\x00"
	p, n, err := ParsePacket([]byte(in), "a.io")
	if err != nil || p.Address.String() != "a.io:53" || p.Length != 256 || n != len(in) {
		t.Fatalf("got %+v, %d, %v", p, n, err)
	}
	if got := string(AppendPacket(nil, p)); got != in {
		t.Errorf("encoded as %q, want %q", got, in)
	}
	for i := range n {
		if _, _, err := ParsePacket([]byte(in[:i]), ""); !errors.Is(err, ErrShort) {
			t.Fatalf("prefix of %d bytes: err = %v, want ErrShort", i, err)
		}
	}
}

func TestIsDestination(t *testing.T) {
	for host, want := range map[string][2]bool{Host: {false, true}, LegacyHost: {true, true}, "a.io": {false, false}} {
		legacy, ok := IsDestination(M.Socksaddr{Fqdn: host, Port: 443})
		if legacy != want[0] || ok != want[1] {
			t.Errorf("%s: %v, %v, want %v", host, legacy, ok, want)
		}
	}
}

// packet encodes one packet.
func packet(addr, payload string) string {
	return string(AppendPacket(nil, Packet{M.ParseSocksaddr(addr), len(payload)})) + payload
}

func TestPacketConnReads(t *testing.T) {
	big := strings.Repeat("b", MaxPacket)
	in := packet("1.2.3.4:53", "one") + packet("a.io:53", "") + packet("a.io:54", "three") + packet("[::1]:1", big)
	c := NewPacketConn(wiretest.New(strings.NewReader(in)), Request{})
	for _, want := range []struct{ addr, payload string }{{"1.2.3.4:53", "one"}, {"a.io:54", "three"}, {"[::1]:1", big}} {
		b, addr, err := c.WaitReadPacket()
		if err != nil || addr.String() != want.addr || string(b.Bytes()) != want.payload {
			t.Fatalf("got %s, %v, want %d bytes for %s", addr, err, len(want.payload), want.addr)
		}
		b.Release()
	}
	if _, _, err := c.WaitReadPacket(); err != io.EOF {
		t.Errorf("end between packets: %v, want EOF", err)
	}
}

func TestPacketConnToOneAddress(t *testing.T) {
	fake := wiretest.New(strings.NewReader("\x00\x03one\x00\x03two\x00\x09thr"))
	c := NewPacketConn(fake, Request{Connect: true, Destination: M.ParseSocksaddr("a.io:53")})
	small := buf.NewSize(2)
	defer small.Release()
	b := buf.NewSize(10)
	defer b.Release()
	for _, want := range []string{"one", "two"} {
		b.Reset()
		addr, err := c.ReadPacket(b)
		if err != nil || addr.String() != "a.io:53" || string(b.Bytes()) != want {
			t.Errorf("got %q for %s, %v, want %q", b.Bytes(), addr, err, want)
		}
	}
	if _, err := c.ReadPacket(b); err != io.ErrUnexpectedEOF {
		t.Errorf("%v, want ErrUnexpectedEOF", err)
	}
	answer := buf.As([]byte("answer"))
	if err := c.WritePacket(answer, M.ParseSocksaddr("9.9.9.9:53")); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(fake.Writes(), ""); got != "\x00\x06answer" {
		t.Errorf("wrote %q", got)
	}
}

func TestPacketConnWrites(t *testing.T) {
	for _, room := range []int{0, 300} {
		fake := wiretest.New(strings.NewReader(""))
		c := NewPacketConn(fake, Request{})
		want := ""
		for _, addr := range []string{"1.2.3.4:53", "[::1]:53", "a.io:53"} {
			b := buf.NewSize(room + 5)
			b.Resize(room, 0)
			_, _ = b.WriteString("reply")
			if err := c.WritePacket(b, M.ParseSocksaddr(addr)); err != nil {
				t.Fatal(err)
			}
			want += packet(addr, "reply")
		}
		if err := c.WritePacket(buf.As(make([]byte, MaxPacket+1)), M.ParseSocksaddr("a.io:1")); err != nil {
			t.Errorf("a packet that cannot be said: %v", err)
		}
		if got := strings.Join(fake.Writes(), ""); got != want {
			t.Errorf("room %d: wrote %q, want %q", room, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x00\x01\x01\x02\x03\x04\x00\x35"))
	f.Add([]byte("\x01\x03\x04a.io\x00\x35"))
	f.Add([]byte("\x02\x04a.io\x00\x35\x01\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if r, n, err := ParseRequest(in); err == nil {
			again, _, err := ParseRequest(AppendRequest(nil, r))
			if err != nil || again != r || n > len(in) {
				t.Errorf("request %+v came back as %+v, %v", r, again, err)
			}
		}
		if p, n, err := ParsePacket(in, ""); err == nil {
			again, _, err := ParsePacket(AppendPacket(nil, p), "")
			if err != nil || again != p || n > len(in) {
				t.Errorf("packet %+v came back as %+v, %v", p, again, err)
			}
		}
		for _, r := range []Request{{}, {Connect: true}} {
			c := NewPacketConn(wiretest.New(bytes.NewReader(in)), r)
			for {
				b, _, err := c.WaitReadPacket()
				if err != nil {
					break
				}
				if b.IsEmpty() {
					t.Error("a packet without payload")
				}
				b.Release()
			}
		}
	})
}

func BenchmarkWritePacket(b *testing.B) { // 0 allocs
	c := NewPacketConn(wiretest.NewDiscard(strings.NewReader("")), Request{})
	chunk, source := buf.With(make([]byte, 300+1200)), M.ParseSocksaddr("1.2.3.4:53")
	b.SetBytes(1200)
	b.ReportAllocs()
	for b.Loop() {
		chunk.Resize(300, 1200)
		_ = c.WritePacket(chunk, source)
	}
}

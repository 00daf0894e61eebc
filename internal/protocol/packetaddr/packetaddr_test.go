package packetaddr

import (
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/vless"
	"heki/internal/protocol/wire/wiretest"
)

var destination = M.Socksaddr{Fqdn: Host, Port: 443}

// session returns a packetaddr session that reads the packets in.
func session(in ...string) (*Conn, *wiretest.Fake) {
	var stream []byte
	for _, p := range in {
		stream = binary.BigEndian.AppendUint16(stream, uint16(len(p)))
		stream = append(stream, p...)
	}
	fake := wiretest.New(strings.NewReader(string(stream)))
	return NewConn(vless.NewPacketConn(fake, destination), destination), fake
}

const v6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"

var packets = []string{
	"\x01\x01\x02\x03\x04\x00\x35one",
	"\x03\x04a.io\x00\x35a host is impossible",
	"\x01",
	"\x02" + v6 + "\x00\x36two",
	"\x01\x01\x02\x03\x04\x00\x37",
}

var want = []struct{ addr, payload string }{{"1.2.3.4:53", "one"}, {"[2001:db8::1]:54", "two"}, {"1.2.3.4:55", ""}}

func TestReadPacket(t *testing.T) {
	c, _ := session(packets...)
	b := buf.NewSize(100)
	defer b.Release()
	for _, w := range want {
		b.Resize(10, 0)
		addr, err := c.ReadPacket(b)
		if err != nil || addr.String() != w.addr || string(b.Bytes()) != w.payload {
			t.Errorf("got %q of %s, %v, want %q of %s", b.Bytes(), addr, err, w.payload, w.addr)
		}
	}
	b.Reset()
	if _, err := c.ReadPacket(b); err != io.EOF {
		t.Errorf("%v, want EOF", err)
	}
}

func TestWaitReadPacket(t *testing.T) {
	c, _ := session(packets...)
	w, ok := c.CreateReadWaiter()
	if !ok {
		t.Fatal("cannot wait over a session that can")
	}
	w.InitializeReadWaiter(N.ReadWaitOptions{})
	for _, want := range want {
		b, addr, err := w.WaitReadPacket()
		if err != nil || addr.String() != want.addr || string(b.Bytes()) != want.payload {
			t.Fatalf("got %s, %v, want %s", addr, err, want.addr)
		}
		b.Release()
	}
	if _, _, err := w.WaitReadPacket(); err != io.EOF {
		t.Errorf("%v, want EOF", err)
	}
	if _, ok := NewConn(plain{}, destination).CreateReadWaiter(); ok {
		t.Error("waits over a session that cannot")
	}
	if _, ok := NewConn(c, destination).CreateReadWaiter(); !ok {
		t.Error("cannot wait over a session that creates waiters")
	}
}

// plain is a session that cannot wait.
type plain struct{ N.PacketConn }

func TestWritePacket(t *testing.T) {
	c, fake := session()
	for _, addr := range []string{"1.2.3.4:53", "a.io:53", "[2001:db8::1]:54", "[::ffff:1.2.3.4]:55"} {
		if err := c.WritePacket(buf.As([]byte("x")), M.ParseSocksaddr(addr)); err != nil {
			t.Error(err)
		}
	}
	want := []string{
		"\x00\x00\x00\x08\x01\x01\x02\x03\x04\x00\x35x", // with VLESS's response header
		"\x00\x14\x02" + v6 + "\x00\x36x",
		"\x00\x08\x01\x01\x02\x03\x04\x00\x37x",
	}
	if got := fake.Writes(); !slices.Equal(got, want) {
		t.Errorf("writes = %q\nwant %q", got, want)
	}
	if got := N.CalculateFrontHeadroom(c); got != 19+2 {
		t.Errorf("headroom = %d, want 21", got)
	}
}

func TestIsDestination(t *testing.T) {
	if !IsDestination(M.ParseSocksaddr("sp.packet-addr.v2fly.arpa:0")) || IsDestination(M.ParseSocksaddr("a.io:0")) {
		t.Error("wrong answer")
	}
}

func TestAllocs(t *testing.T) {
	in := "\x04\xb7\x01\x01\x02\x03\x04\x00\x35" + strings.Repeat("x", 1200)
	fake := wiretest.NewDiscard(&wiretest.Cycle{B: []byte(in)})
	c := NewConn(vless.NewPacketConn(fake, destination), destination)
	b := buf.With(make([]byte, 2048))
	n := testing.AllocsPerRun(100, func() {
		b.Resize(64, 0)
		from, err := c.ReadPacket(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.WritePacket(b, from); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for a packet each way, want 0", n)
	}
}

package muxcool

import (
	"io"
	"strings"
	"testing"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/wire/wiretest"
)

// frame is one of a server's.
func frame(f Frame, payload string) string {
	f.Length = len(payload)
	return string(AppendFrame(nil, f)) + payload
}

func TestXUDPClientWrites(t *testing.T) {
	fake := wiretest.New(strings.NewReader(""))
	c := NewXUDP(fake, M.ParseSocksaddr("8.8.8.8:53"))
	for _, p := range []struct{ dst, text string }{{"8.8.8.8:53", "query"}, {"example.com:54", "other"}} {
		b := buf.NewSize(100)
		b.Resize(50, 0)
		_, _ = b.WriteString(p.text)
		if err := c.WritePacket(b, M.ParseSocksaddr(p.dst)); err != nil {
			t.Fatal(err)
		}
	}
	want := wiretest.Vector(t, "muxcool", "sing-xudp-new") + wiretest.Vector(t, "muxcool", "sing-xudp-keep-domain")
	if got := strings.Join(fake.Writes(), ""); got != want {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	if err := c.WritePacket(buf.As(make([]byte, MaxPayload+1)), M.Socksaddr{}); err != nil || len(fake.Writes()) != 2 {
		t.Errorf("a packet that no frame can say: %v, %d writes", err, len(fake.Writes()))
	}
}

func TestXUDPClientReads(t *testing.T) {
	first := M.ParseSocksaddr("8.8.8.8:53")
	keep := Frame{Status: StatusKeep, Option: OptionData}
	named := keep
	named.Network, named.Address = NetworkUDP, M.ParseSocksaddr("host.example:5")
	in := frame(keep, "unnamed") + frame(Frame{Status: StatusKeepAlive, Option: OptionData}, "junk") +
		frame(named, "named") + frame(keep, "again") + frame(keep, strings.Repeat("b", 3000)) + frame(keep, "last") + frame(Frame{Status: StatusEnd}, "")
	c := NewXUDP(wiretest.New(strings.NewReader(in)), first)
	for _, want := range []struct {
		from M.Socksaddr
		text string
	}{{first, "unnamed"}, {named.Address, "named"}, {named.Address, "again"}, {named.Address, "last"}} { // the long one does not fit
		b := buf.NewSize(2000)
		from, err := c.ReadPacket(b)
		if err != nil || from != want.from || string(b.Bytes()) != want.text {
			t.Errorf("%q from %s, %v; want %q from %s", b.Bytes(), from, err, want.text, want.from)
		}
		b.Release()
	}
	if _, _, err := c.WaitReadPacket(); err != io.EOF {
		t.Errorf("end: %v", err)
	}
}

func FuzzXUDPClient(f *testing.F) {
	keep := Frame{Status: StatusKeep, Option: OptionData, Network: NetworkUDP, Address: M.ParseSocksaddr("1.2.3.4:5")}
	f.Add([]byte(frame(keep, "data") + frame(Frame{Status: StatusEnd}, "")))
	f.Add([]byte(frame(Frame{Status: StatusKeepAlive}, "")))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := NewXUDP(wiretest.New(strings.NewReader(string(in))), M.ParseSocksaddr("8.8.8.8:53"))
		total := 0
		for {
			b, from, err := c.WaitReadPacket()
			if err != nil {
				break
			}
			if !from.IsValid() {
				t.Error("a packet from nowhere")
			}
			total += b.Len()
			b.Release()
		}
		if total > len(in) {
			t.Errorf("%d bytes out of %d", total, len(in))
		}
	})
}

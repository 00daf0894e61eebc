package trojan

import (
	"io"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"heki/internal/netio"
	"heki/internal/protocol/trojan"
	"heki/internal/protocol/wire"
	"heki/option"
	"heki/outbound/internal/outboundtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "a secret of the user"

func newOutbound(t testing.TB, at option.Remote) *Outbound {
	t.Helper()
	o := option.TrojanOutbound{Remote: at, Password: password}
	if err := o.Validate("x"); err != nil {
		t.Fatal(err)
	}
	out, err := New(outboundtest.Env(nil), "out", &o)
	if err != nil {
		t.Fatal(err)
	}
	return out.(*Outbound)
}

// serve reads the request of a stream and gives it to handle.
func serve(t testing.TB, handle func(c *netio.Conn, req trojan.Request) error) option.Remote {
	return outboundtest.Serve(t, func(c *netio.Conn) error {
		req, err := wire.ReadHeader(c, trojan.ParseRequest)
		if err != nil || req.Key != trojan.KeyOf(password) {
			t.Errorf("request %+v, %v", req, err)
			return nil
		}
		return handle(c, req)
	})
}

func TestFirstPayloadGoesWithTheRequest(t *testing.T) {
	at := outboundtest.Serve(t, func(c *netio.Conn) error {
		b, err := c.Peek(1) // one write is one segment here
		if err != nil {
			return err
		}
		if !strings.HasSuffix(string(b), "\r\nhello") {
			t.Errorf("the first segment is %d bytes without the payload", len(b))
		}
		_, err = c.Write([]byte("world"))
		return err
	})
	c := outboundtest.Dial(t, newOutbound(t, at), "example.com:80")
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	outboundtest.Says(t, c, "world")
}

func TestServerThatSpeaksFirst(t *testing.T) {
	at := serve(t, func(c *netio.Conn, req trojan.Request) error {
		if req.Destination.String() != "mail.example:25" {
			t.Errorf("destination %s", req.Destination)
		}
		_, err := c.Write([]byte("220 mail.example"))
		return err
	})
	outboundtest.Says(t, outboundtest.Dial(t, newOutbound(t, at), "mail.example:25"), "220 mail.example")
}

func TestHalfClose(t *testing.T) {
	at := serve(t, func(c *netio.Conn, _ trojan.Request) error {
		b, err := io.ReadAll(c)
		if err != nil {
			return err
		}
		_, err = c.Write([]byte("got " + string(b)))
		return err
	})
	for _, text := range []string{"all", ""} {
		c := outboundtest.Dial(t, newOutbound(t, at), "[2001:db8::1]:443")
		_, _ = io.WriteString(c, text)
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		outboundtest.Says(t, c, "got "+text)
	}
}

func TestPackets(t *testing.T) {
	at := serve(t, func(c *netio.Conn, req trojan.Request) error {
		if req.Command != trojan.CommandUDP {
			t.Errorf("command %d", req.Command)
		}
		return outboundtest.Echo(trojan.NewPacketConn(c))
	})
	c := outboundtest.Packets(t, newOutbound(t, at), "192.0.2.1:53")
	outboundtest.Asks(t, c, "192.0.2.1:53", "one", "re:one")
	outboundtest.Asks(t, c, "[2001:db8::1]:53", "again", "re:again")
	outboundtest.Asks(t, c, "host.example:53", "host", "re:host")
}

func TestRefusals(t *testing.T) {
	outboundtest.Fails(t, newOutbound(t, outboundtest.Refused(t)), outboundtest.To("a.example:80"), password, "127.0.0.1", "refused")
	o := newOutbound(t, outboundtest.Refused(t))
	o.packet.Network = []string{"udp"}
	outboundtest.Fails(t, o, outboundtest.To("a.example:80"), password, "leaves out tcp")
	o.packet.Network = []string{"tcp"}
	if _, err := o.ListenPacket(t.Context(), outboundtest.To("1.1.1.1:53")); err == nil || !strings.Contains(err.Error(), "leaves out udp") {
		t.Errorf("packets: %v", err)
	}
}

func TestWriteAllocs(t *testing.T) {
	c := sink(t)
	outboundtest.Writes(t, c)
}

// sink is a stream whose server throws away what comes, the request gone already.
func sink(t testing.TB) net.Conn {
	at := serve(t, func(c *netio.Conn, _ trojan.Request) error {
		_, err := io.Copy(io.Discard, c)
		_ = err // the test ends it
		return nil
	})
	c := outboundtest.Dial(t, newOutbound(t, at), "example.com:80")
	if _, err := c.Write([]byte("begin")); err != nil {
		t.Fatal(err)
	}
	return c
}

func BenchmarkWrite(b *testing.B) {
	w := netio.UnwrapWriter(sink(b))
	chunk := make([]byte, 32<<10)
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
}

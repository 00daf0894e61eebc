package vless

import (
	"io"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"heki/internal/netio"
	"heki/internal/protocol/packetaddr"
	"heki/internal/protocol/vless"
	"heki/internal/protocol/wire"
	"heki/option"
	"heki/outbound/internal/outboundtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const uuid = "b831381d-6324-4d53-ad4f-8cda48b30811"

func newOutbound(t testing.TB, at option.Remote, encoding *string) *Outbound {
	t.Helper()
	o := option.VLESSOutbound{Remote: at, UUID: uuid, PacketEncoding: encoding}
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
func serve(t testing.TB, handle func(c *netio.Conn, req vless.Request) error) option.Remote {
	id, err := option.ParseUUID(uuid)
	if err != nil {
		t.Fatal(err)
	}
	return outboundtest.Serve(t, func(c *netio.Conn) error {
		req, err := wire.ReadHeader(c, vless.ParseRequest)
		if err != nil || req.UUID != id || req.Flow != "" {
			t.Errorf("request of %s, flow %q, %v", req.Destination, req.Flow, err)
			return nil
		}
		return handle(c, req)
	})
}

func TestStream(t *testing.T) {
	at := serve(t, func(c *netio.Conn, req vless.Request) error {
		if req.Command != vless.CommandTCP || req.Destination.String() != "example.com:80" {
			t.Errorf("request %d %s", req.Command, req.Destination)
		}
		if got := string(c.Buffered()); !strings.HasPrefix(got, "hello") {
			t.Errorf("the first payload came as %q with the request", got)
		}
		b, err := io.ReadAll(c)
		if err != nil {
			return err
		}
		s := vless.NewServerConn(c)
		if _, err := s.Write(b); err != nil {
			return err
		}
		return s.CloseWrite()
	})
	c := outboundtest.Dial(t, newOutbound(t, at, nil), "example.com:80")
	for _, part := range []string{"hello", " and", " more"} {
		if _, err := io.WriteString(c, part); err != nil {
			t.Fatal(err)
		}
		if part == "hello" && netio.UnwrapWriter(c) == io.Writer(c) {
			t.Error("the writer is not replaceable after the request")
		}
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	outboundtest.Says(t, c, "hello and more")
	if _, ok := netio.UnwrapReader(c).(*net.TCPConn); !ok {
		t.Errorf("reads go through %T after the response", netio.UnwrapReader(c))
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("end: %v", err)
	}
}

func TestServerThatSpeaksFirst(t *testing.T) {
	at := serve(t, func(c *netio.Conn, _ vless.Request) error {
		for _, part := range []string{"\x00", "\x03add", "220 mail.example"} { // addons, cut anywhere
			if _, err := io.WriteString(c, part); err != nil {
				return err
			}
		}
		return nil
	})
	c := outboundtest.Dial(t, newOutbound(t, at, nil), "mail.example:25")
	b, err := netio.NewWaiter(c).WaitReadBuffer()
	if err != nil {
		t.Fatal(err)
	}
	defer netio.Put(b)
	outboundtest.Says(t, io.MultiReader(strings.NewReader(string(b.Bytes())), c), "220 mail.example")
}

func TestNoVLESSServer(t *testing.T) {
	at := outboundtest.Serve(t, func(c *netio.Conn) error {
		_, err := io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		return err
	})
	c := outboundtest.Dial(t, newOutbound(t, at, nil), "example.com:80")
	if _, err := c.Read(make([]byte, 10)); err == nil || !strings.Contains(err.Error(), "version 72") {
		t.Errorf("err = %v, want one about the version", err)
	}
}

func TestPlainPackets(t *testing.T) {
	at := serve(t, func(c *netio.Conn, req vless.Request) error {
		if req.Command != vless.CommandUDP {
			t.Errorf("command %d", req.Command)
		}
		return outboundtest.Echo(vless.NewPacketConn(c, req.Destination))
	})
	c := outboundtest.Packets(t, newOutbound(t, at, new(string)), "192.0.2.1:53")
	outboundtest.Asks(t, c, "192.0.2.1:53", "one", "re:one")
	outboundtest.Sends(t, c, "192.0.2.2:53", "to another destination, which is lost")
	outboundtest.Asks(t, c, "192.0.2.1:53", "four", "re:four")
}

func TestPacketAddr(t *testing.T) {
	at := serve(t, func(c *netio.Conn, req vless.Request) error {
		if !packetaddr.IsDestination(req.Destination) {
			t.Errorf("destination %s", req.Destination)
		}
		return outboundtest.Echo(packetaddr.NewConn(vless.NewPacketConn(c, req.Destination), req.Destination))
	})
	encoding := option.PacketEncodingAddr
	c := outboundtest.Packets(t, newOutbound(t, at, &encoding), "192.0.2.1:53")
	outboundtest.Asks(t, c, "192.0.2.1:53", "one", "re:one")
	outboundtest.Asks(t, c, "[2001:db8::1]:53", "four", "re:four")
}

func TestRefusals(t *testing.T) {
	outboundtest.Fails(t, newOutbound(t, outboundtest.Refused(t), nil), outboundtest.To("a.example:80"), uuid, "127.0.0.1", "refused")
	o := newOutbound(t, outboundtest.Refused(t), nil)
	o.packet.Network = []string{"udp"}
	outboundtest.Fails(t, o, outboundtest.To("a.example:80"), uuid, "leaves out tcp")
	_, err := New(outboundtest.Env(nil), "out", &option.VLESSOutbound{Remote: outboundtest.Refused(t)})
	if err == nil {
		t.Error("built without a uuid")
	}
}

func sink(t testing.TB) net.Conn {
	at := serve(t, func(c *netio.Conn, _ vless.Request) error {
		_, _ = io.Copy(io.Discard, c) // the test ends it
		return nil
	})
	c := outboundtest.Dial(t, newOutbound(t, at, nil), "example.com:80")
	if _, err := c.Write([]byte("begin")); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWriteAllocs(t *testing.T) { outboundtest.Writes(t, sink(t)) }

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

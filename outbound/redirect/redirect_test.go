package redirect

import (
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"

	"heki/internal/netio"
	"heki/option"
	"heki/outbound/internal/outboundtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newOutbound(t testing.TB, o option.RedirectOutbound) *Outbound {
	t.Helper()
	if err := o.Validate("x"); err != nil {
		t.Fatal(err)
	}
	out, err := New(outboundtest.Env(nil), "out", &o)
	if err != nil {
		t.Fatal(err)
	}
	return out.(*Outbound)
}

func TestDial(t *testing.T) {
	at := outboundtest.Serve(t, func(c *netio.Conn) error {
		_, err := io.WriteString(c, "here")
		return err
	})
	for _, o := range []option.RedirectOutbound{
		{Server: "127.0.0.1", ServerPort: at.ServerPort},
		{Server: "127.0.0.1"},
	} {
		to := outboundtest.To("192.0.2.1:80")
		if o.ServerPort == 0 {
			to.Destination.Port = at.ServerPort
		}
		c, err := newOutbound(t, o).Dial(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		outboundtest.Says(t, c, "here")
		if to.Destination.AddrString() != "192.0.2.1" {
			t.Errorf("the metadata now says %s", to.Destination)
		}
	}
}

func TestPackets(t *testing.T) {
	l, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 100)
		for {
			n, from, err := l.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = l.WriteToUDPAddrPort(append([]byte("re:"), b[:n]...), from)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	port := uint16(l.LocalAddr().(*net.UDPAddr).Port)
	c := outboundtest.Packets(t, newOutbound(t, option.RedirectOutbound{Server: "127.0.0.1", ServerPort: port}), "192.0.2.1:53")
	outboundtest.Asks(t, c, "192.0.2.1:53", "one", "re:one")
	outboundtest.Asks(t, c, "host.example:54", "four", "re:four")
}

func TestBoundedMemory(t *testing.T) {
	c := outboundtest.Packets(t, newOutbound(t, option.RedirectOutbound{Server: "127.0.0.1"}), "192.0.2.1:53")
	for port := range 3 * ports {
		to := outboundtest.To("192.0.2.1:1")
		to.Destination.Port = uint16(port + 1)
		outboundtest.Sends(t, c, to.Destination.String(), "x")
	}
	if n := len(c.(*packetConn).last); n > ports {
		t.Errorf("%d destinations remembered, want at most %d", n, ports)
	}
}

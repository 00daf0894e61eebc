package socks

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"heki/internal/netio"
	"heki/option"
	"heki/outbound/internal/outboundtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "a secret"

func newOutbound(t testing.TB, o option.SocksOutbound) *Outbound {
	t.Helper()
	if err := o.Validate("x"); err != nil {
		t.Fatal(err)
	}
	h := outboundtest.Hosts{
		"four.example": {netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.4")},
		"six.example":  {netip.MustParseAddr("2001:db8::1")},
	}
	out, err := New(outboundtest.Env(h), "out", &o)
	if err != nil {
		t.Fatal(err)
	}
	return out.(*Outbound)
}

// script is what a server reads and answers in turns.
func script(t testing.TB, turns ...string) option.Remote {
	return outboundtest.Serve(t, func(c *netio.Conn) error {
		for i := 0; i < len(turns); i += 2 {
			b := make([]byte, len(turns[i]))
			if _, err := io.ReadFull(c, b); err != nil || string(b) != turns[i] {
				t.Errorf("turn %d: %q, %v; want %q", i/2, b, err, turns[i])
				return nil
			}
			if _, err := io.WriteString(c, turns[i+1]); err != nil {
				return err
			}
		}
		_, _ = io.Copy(c, c) // the test ends it
		return nil
	})
}

const (
	hello5  = "\x05\x01\x00"
	ask5    = "\x05\x01\x00\x03\x0cfour.example\x00\x50"
	done5   = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	helloPW = "\x05\x02\x00\x02"
	sendPW  = "\x01\x04user\x08" + password
)

func TestConnect(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    option.SocksOutbound
		talk []string
	}{
		{"5", option.SocksOutbound{}, []string{hello5, "\x05\x00", ask5, done5}},
		{"5 with password", option.SocksOutbound{Username: "user", Password: password}, []string{helloPW, "\x05\x02", sendPW, "\x01\x00", ask5, done5}},
		{"5, password not wanted", option.SocksOutbound{Username: "user", Password: password}, []string{helloPW, "\x05\x00", ask5, done5}},
		{"4", option.SocksOutbound{Version: "4", Username: "me"}, []string{"\x04\x01\x00\x50\xc0\x00\x02\x04me\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00"}},
		{"4a", option.SocksOutbound{Version: "4a"}, []string{"\x04\x01\x00\x50\x00\x00\x00\x01\x00four.example\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.talk[len(tt.talk)-1] += "220 the server speaks first"
			tt.o.Remote = script(t, tt.talk...)
			c := outboundtest.Dial(t, newOutbound(t, tt.o), "four.example:80")
			outboundtest.Says(t, c, "220 the server speaks first")
			_, _ = io.WriteString(c, "hello")
			outboundtest.Says(t, c, "hello")
		})
	}
}

func TestRefusals(t *testing.T) {
	to := outboundtest.To("four.example:80")
	for _, tt := range []struct {
		o     option.SocksOutbound
		talk  []string
		words string
	}{
		{option.SocksOutbound{}, []string{hello5, "\x05\xff"}, "authenticate"},
		{option.SocksOutbound{}, []string{hello5, "\x05\x02"}, "password that was not offered"},
		{option.SocksOutbound{Username: "user", Password: password}, []string{helloPW, "\x05\x02", sendPW, "\x01\x01"}, "refuses the user name and password"},
		{option.SocksOutbound{}, []string{hello5, "\x05\x00", ask5, "\x05\x04"}, "host unreachable"},
		{option.SocksOutbound{}, []string{hello5, "HTTP/1.1 400"}, "not an answer of a SOCKS server"},
	} {
		tt.o.Remote = script(t, tt.talk...)
		outboundtest.Fails(t, newOutbound(t, tt.o), to, password, "server 127.0.0.1:", tt.words)
	}
	refused := option.SocksOutbound{Remote: outboundtest.Refused(t), Username: "user", Password: password}
	outboundtest.Fails(t, newOutbound(t, refused), to, password, "server 127.0.0.1:", "refused")
	refused.Network = []string{"udp"}
	outboundtest.Fails(t, newOutbound(t, refused), to, password, "leaves out tcp")
	four := newOutbound(t, option.SocksOutbound{Remote: outboundtest.Refused(t), Version: "4"})
	outboundtest.Fails(t, four, outboundtest.To("six.example:80"), "", "no IPv6")
	outboundtest.Fails(t, four, outboundtest.To("none.example:80"), "", "none.example")
	if _, err := four.ListenPacket(t.Context(), to); !errors.Is(err, ErrNoUDP) {
		t.Errorf("packets: %v", err)
	}
}

// relay is a server's UDP half, which echoes payloads; what comes back before them is junk.
func relay(t testing.TB) uint16 {
	l, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1000)
		for {
			n, from, err := l.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = l.WriteToUDPAddrPort([]byte("\x00\x00\x01junk"), from)
			_, _ = l.WriteToUDPAddrPort(nil, from)
			_, _ = l.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return uint16(l.LocalAddr().(*net.UDPAddr).Port)
}

func TestAssociate(t *testing.T) {
	port := relay(t)
	tail := string([]byte{byte(port >> 8), byte(port)})
	for _, where := range []string{"\x01\x00\x00\x00\x00", "\x01\x7f\x00\x00\x01", "\x03\x00"} {
		at := script(t, hello5, "\x05\x00", "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x00\x00"+where+tail)
		c := outboundtest.Packets(t, newOutbound(t, option.SocksOutbound{Remote: at}), "192.0.2.1:53")
		outboundtest.Asks(t, c, "192.0.2.1:53", "one", "one")
		outboundtest.Asks(t, c, "[2001:db8::1]:53", "four", "four")
		outboundtest.Asks(t, c, "host.example:53", "three", "three")
	}
	at := script(t, hello5, "\x05\x00", "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", done5)
	_, err := newOutbound(t, option.SocksOutbound{Remote: at}).ListenPacket(t.Context(), outboundtest.To("192.0.2.1:53"))
	if err == nil || !strings.Contains(err.Error(), "no port") {
		t.Errorf("without a port: %v", err)
	}
}

// The association ends when the server closes its connection.
func TestAssociationEnds(t *testing.T) {
	end := make(chan struct{})
	at := outboundtest.Serve(t, func(c *netio.Conn) error {
		for _, turn := range [][2]string{{hello5, "\x05\x00"}, {"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x09"}} {
			if _, err := io.ReadFull(c, make([]byte, len(turn[0]))); err != nil {
				return err
			}
			if _, err := io.WriteString(c, turn[1]); err != nil {
				return err
			}
		}
		<-end
		return nil
	})
	c := outboundtest.Packets(t, newOutbound(t, option.SocksOutbound{Remote: at}), "192.0.2.1:53")
	go close(end)
	if _, _, err := c.(*packetConn).WaitReadPacket(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("err = %v, want that the socket is closed", err)
	}
}

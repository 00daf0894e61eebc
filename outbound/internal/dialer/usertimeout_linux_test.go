package dialer

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"heki/option"
)

// TestShared: only connections that are shared end when their peer confirms nothing.
func TestShared(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, err := New(&option.Dial{TCPFastOpen: true})
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(l.Addr().String())
	for _, tt := range []struct {
		name string
		d    *Dialer
		want int
	}{{"shared", d.Shared(), 30_000}, {"alone", d, 0}} {
		c, err := tt.d.Dial(t.Context(), []netip.Addr{at.Addr()}, at.Port(), netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var got int
		var failed error
		if err := raw.Control(func(fd uintptr) {
			got, failed = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		}); err != nil || failed != nil {
			t.Fatal(err, failed)
		}
		if got != tt.want {
			t.Errorf("%s: %d ms, want %d", tt.name, got, tt.want)
		}
	}
}

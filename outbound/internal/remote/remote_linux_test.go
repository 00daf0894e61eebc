package remote

import (
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"heki/constant"
	"heki/internal/netio"
	"heki/option"
	"heki/outbound/internal/outboundtest"
)

// TestSharedConnections: streams share the connections of two transports, which must not outlive their peer.
func TestSharedConnections(t *testing.T) {
	at := outboundtest.Serve(t, func(c *netio.Conn) error {
		_, err := io.Copy(io.Discard, c)
		return err
	})
	for transport, shared := range map[string]bool{
		constant.TransportGRPC: true, constant.TransportHTTP: true, constant.TransportWS: false,
	} {
		s := newServer(t, at, option.Carrier{Transport: &option.Transport{Type: transport}}, nil)
		c, err := s.connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var ms int
		var failed error
		if err := raw.Control(func(fd uintptr) {
			ms, failed = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		}); err != nil || failed != nil {
			t.Fatal(err, failed)
		}
		if ms > 0 != shared {
			t.Errorf("%s: %d ms for a peer that is gone", transport, ms)
		}
		c.Close()
	}
}

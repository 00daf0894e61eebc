package inbound_test

import (
	"io"
	"testing"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/uot"
)

// UDP over TCP in both versions, with one destination and with any.
func TestPacketsOverStream(t *testing.T) {
	packet := func(to, payload string) string {
		return string(uot.AppendPacket(nil, uot.Packet{Address: M.ParseSocksaddr(to), Length: len(payload)})) + payload
	}
	request := func(connect bool) string {
		return string(uot.AppendRequest(nil, uot.Request{Connect: connect, Destination: M.ParseSocksaddr("192.0.2.1:53")}))
	}
	for name, tt := range map[string]struct{ host, start, packets string }{
		"version 2":          {uot.Host, request(false), packet("192.0.2.1:53", "one") + packet("a.test:54", "two")},
		"version 2, connect": {uot.Host, request(true), "\x00\x03one\x00\x03two"},
		"version 1":          {uot.LegacyHost, "", packet("[2001:db8::1]:53", "one") + packet("a.test:54", "two")},
	} {
		t.Run(name, func(t *testing.T) {
			s := startMux(t, nil)
			c := s.open(t, M.Socksaddr{Fqdn: tt.host, Port: 443})
			if _, err := io.WriteString(c, tt.start+tt.packets); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(tt.packets))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != tt.packets {
				t.Errorf("%q, %v, want %q", got, err, tt.packets)
			}
		})
	}
	t.Run("no request", func(t *testing.T) {
		c := startMux(t, nil).open(t, M.Socksaddr{Fqdn: uot.Host, Port: 443})
		if _, err := c.Write([]byte{9}); err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(c); len(b) > 0 {
			t.Errorf("answered %q", b)
		}
	})
}

package shadowsocks

import (
	"io"
	"net"
	"testing"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/netio"
	"heki/internal/protocol/shadowsocks"
	"heki/option"
	"heki/outbound/internal/outboundtest"
)

// sink is a stream to a server that reads on.
func sink(t testing.TB, method string) net.Conn {
	at := outboundtest.Serve(t, func(c *netio.Conn) error {
		_, _ = io.Copy(io.Discard, c) // the test ends it
		return nil
	})
	c := outboundtest.Dial(t, newOutbound(t, option.ShadowsocksOutbound{Remote: at, Method: method, Password: methods()[method]}), "example.com:80")
	if _, err := c.Write([]byte("begin")); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWriteAllocs(t *testing.T) {
	for method := range methods() {
		outboundtest.Writes(t, sink(t, method))
	}
}

// A datagram of 2022 allocates nothing, one of AEAD its cipher alone.
func TestPacketAllocs(t *testing.T) {
	dst := M.ParseSocksaddr("192.0.2.1:443")
	for method, password := range methods() {
		_, at := newUDPServer(t, method)
		c := outboundtest.Packets(t, newOutbound(t, option.ShadowsocksOutbound{Remote: at, Method: method, Password: password}), "192.0.2.1:443")
		want := 0.0
		if m, ok := shadowsocks.ParseMethod(method); ok {
			if want = 2; m >= shadowsocks.ChaCha20Poly1305 {
				want = 1
			}
		}
		payload := make([]byte, 1200)
		n := testing.AllocsPerRun(100, func() {
			b := netio.Get()
			_, _ = b.Write(payload)
			if err := c.WritePacket(netio.Filled(b), dst); err != nil {
				t.Fatal(err)
			}
			netio.Put(b)
		})
		if n > want && !raceEnabled { // which makes crypto/sha1 allocate
			t.Errorf("%s: %v allocations a datagram, want %v", method, n, want)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, method := range []string{"aes-128-gcm", "2022-blake3-aes-128-gcm"} {
		b.Run(method, func(b *testing.B) {
			w := netio.UnwrapWriter(sink(b, method))
			chunk := make([]byte, 32<<10)
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Write(chunk); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

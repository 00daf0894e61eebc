package anytls

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"testing"

	M "github.com/sagernet/sing/common/metadata"

	"heki/inbound/inboundtest"
	"heki/internal/protocol/address"
	"heki/internal/protocol/anytls"
	"heki/option"
)

// BenchmarkIdle prints what an idle session with one stream costs, and each further stream of it, with
// TLS, the goroutines of their relays and the sockets to their targets. Goals: 30 KiB, and 4 KiB for the
// protocol's part of a stream (internal/protocol/anytls has that alone). The client's and the targets'
// sockets are in it too, the client's TLS is not.
func BenchmarkIdle(b *testing.B) {
	const sessions, more = 100, 10
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	var first, further float64
	for range b.N {
		s := inboundtest.Start(b, protocol, option.Stream{TLS: certificate(b)}, 1)
		var open []io.Closer
		conns := make([]*tls.Conn, sessions)
		stream := func(c *tls.Conn, b []byte, id uint32) error {
			b = frame(b, anytls.CommandSYN, id, "")
			b = frame(b, anytls.CommandPSH, id, string(address.AppendS(nil, M.SocksaddrFromNet(l.Addr()))))
			if _, err := c.Write(b); err != nil {
				return err
			}
			site, err := l.Accept()
			if err == nil {
				open = append(open, site)
			}
			return err
		}
		before := inUse()
		for i := range conns {
			raw := s.Dial(b)
			conns[i] = tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
			open = append(open, raw)
			if err := stream(conns[i], frame(auth(account(0)), anytls.CommandSettings, 0, "v=1"), 1); err != nil {
				b.Fatal(err)
			}
		}
		one := inUse()
		for _, c := range conns {
			for id := range uint32(more) {
				if err := stream(c, nil, id+2); err != nil {
					b.Fatal(err)
				}
			}
		}
		all := inUse()
		clear(conns) // the sockets stay
		clients := all - inUse()
		first += float64(one-before-clients) / sessions
		further += float64(all-one) / sessions / more
		for _, c := range open {
			_ = c.Close()
		}
		_ = s.Inbound.Close()
	}
	b.ReportMetric(first/float64(b.N)/1024, "KiB/session")
	b.ReportMetric(further/float64(b.N)/1024, "KiB/stream")
	b.ReportMetric(0, "ns/op")
}

// inUse is the live heap and the stacks, after a collection has freed and shrunk what it can.
func inUse() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

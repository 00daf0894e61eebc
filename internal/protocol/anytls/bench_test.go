package anytls

import (
	"bufio"
	"context"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/wire"
	"heki/internal/protocol/wire/wiretest"
)

// BenchmarkDown is one 32 KiB chunk of the relay to the client: 0 allocs, nothing copied.
func BenchmarkDown(b *testing.B) {
	s := newServer(b.Context(), wiretest.NewDiscard(strings.NewReader("")), Options{IdleTimeout: time.Hour})
	defer s.shutdown()
	st, chunk := newStream(s, 1), buf.With(make([]byte, 128+32<<10))
	b.SetBytes(32 << 10)
	b.ReportAllocs()
	for b.Loop() {
		chunk.Resize(128, 32<<10)
		_ = st.WriteBuffer(chunk)
	}
}

// BenchmarkUp is one 16 KiB frame of a client to its reader.
func BenchmarkUp(b *testing.B) {
	frame := appendText(nil, CommandPSH, 1, strings.Repeat("x", 16<<10))
	s := newServer(b.Context(), wiretest.NewDiscard(&wiretest.Cycle{B: frame}), Options{IdleTimeout: time.Hour})
	defer s.shutdown()
	st := newStream(s, 1)
	s.streams[1] = st
	b.SetBytes(16 << 10)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.next(); err != nil {
			b.Fatal(err)
		}
		chunk, _ := st.WaitReadBuffer()
		chunk.Release()
	}
}

// slim looks ahead with next to no buffer, as netio.Conn has none while it waits.
type slim struct {
	net.Conn
	*bufio.Reader
}

func (s slim) Read(p []byte) (int, error) { return s.Reader.Read(p) }

// BenchmarkIdle prints what an idle stream costs in a session, with the goroutine that waits in it.
func BenchmarkIdle(b *testing.B) {
	const streams = 400
	var total float64
	for range b.N {
		opt := options(func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
			st := conn.(slim).Conn.(*stream)
			_ = st.HandshakeSuccess()
			_, _ = st.WaitReadBuffer()
		})
		opt.Ahead = func(c net.Conn) wire.Conn { return slim{c, bufio.NewReaderSize(c, 64)} }
		c := session(b, 2, opt)
		before := inUse()
		for id := range uint32(streams) {
			c.open(id, "192.0.2.1:80", "")
			c.want(CommandSYNACK, id, "")
		}
		total += float64(inUse()-before) / streams
		c.close()
	}
	b.ReportMetric(total/float64(b.N)/1024, "KiB/stream")
	b.ReportMetric(0, "ns/op")
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

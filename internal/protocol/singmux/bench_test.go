package singmux

import (
	"context"
	"io"
	"net"
	"runtime"
	"testing"

	M "github.com/sagernet/sing/common/metadata"
)

// BenchmarkDown sends 32 KiB chunks on one stream towards a client on loopback, which is in the same
// process; its allocations count too.
func BenchmarkDown(b *testing.B) {
	for _, name := range []string{"smux", "yamux", "h2mux"} {
		b.Run(name, func(b *testing.B) {
			chunk := make([]byte, chunkSize)
			start, n := make(chan int), 0
			c := serve(b, kinds[name], Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
				for range <-start {
					if _, err := conn.Write(chunk); err != nil {
						return
					}
				}
			}}})
			conn := c.stream(tcpRequest, "")
			b.SetBytes(chunkSize)
			b.ReportAllocs()
			b.ResetTimer()
			start <- b.N
			for n < b.N*chunkSize+1 {
				m, err := conn.Read(chunk)
				if err != nil {
					b.Fatal(err)
				}
				n += m
			}
		})
	}
}

// BenchmarkUp reads as a relay does what a client sends in 32 KiB chunks.
func BenchmarkUp(b *testing.B) {
	for _, name := range []string{"smux", "yamux", "h2mux"} {
		b.Run(name, func(b *testing.B) {
			started, done := make(chan struct{}), make(chan struct{})
			c := serve(b, kinds[name], Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
				w := waiterOf(conn)
				close(started)
				for n := 0; n < b.N*chunkSize; {
					buffer, err := w.WaitReadBuffer()
					if err != nil {
						b.Error(err)
						break
					}
					n += buffer.Len()
					buffer.Release()
				}
				close(done)
			}}})
			conn := c.stream(tcpRequest, "")
			<-started
			chunk := make([]byte, chunkSize)
			b.SetBytes(chunkSize)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if _, err := conn.Write(chunk); err != nil {
					b.Fatal(err)
				}
			}
			<-done
		})
	}
}

// BenchmarkIdle prints what 50 idle streams of one connection cost, the client's side included: their
// state and the goroutines that wait in them.
func BenchmarkIdle(b *testing.B) {
	const streams = 50
	for _, name := range []string{"smux", "yamux", "h2mux"} {
		b.Run(name, func(b *testing.B) {
			var total float64
			for range b.N {
				before := inUse()
				c := serve(b, kinds[name], Options{Handler: handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
					_ = conn.(*streamConn).HandshakeSuccess()
					_, _ = waiterOf(conn).WaitReadBuffer()
				}}})
				for range streams {
					conn := c.stream(tcpRequest, "")
					_, _ = io.ReadFull(conn, make([]byte, 1))
				}
				total += float64(inUse()-before) / streams
				c.end()
			}
			b.ReportMetric(total/float64(b.N)/1024, "KiB/stream")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

package tls

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"heki/internal/netio"
)

// BenchmarkIdleTLS prints what an idle connection costs: its state and two goroutines that wait, one
// for the client and one for a remote as a relay has it. Sockets of the kernel are not counted.
func BenchmarkIdleTLS(b *testing.B) {
	const conns = 400
	for _, used := range []bool{false, true} {
		name := "fresh"
		if used {
			name = "after 1 MiB"
		}
		b.Run(name, func(b *testing.B) {
			var total float64
			for b.Loop() {
				total += idleBytes(b, conns, used)
			}
			b.ReportMetric(total/float64(b.N)/1024, "KiB/conn")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func idleBytes(b *testing.B, conns int, used bool) float64 {
	s := newServer(b, nil)
	clients := make([]net.Conn, conns)
	servers := make([]net.Conn, conns)
	for i := range conns {
		clients[i], servers[i] = tcpPair(b)
	}
	before := memory()
	var wg sync.WaitGroup
	wait := make(chan struct{}) // stands for the remote
	for i := range conns {
		ready := make(chan struct{})
		wg.Go(func() {
			c, err := s.Handshake(context.Background(), servers[i])
			if err != nil {
				b.Error(err)
				return
			}
			wg.Go(func() { <-wait })
			if used {
				wg.Go(func() { relayUntilEnd(c, ready) })
				return
			}
			close(ready)
			relayUntilEnd(c, nil)
		})
		client := tls.Client(clients[i], &tls.Config{InsecureSkipVerify: true})
		if err := client.Handshake(); err != nil {
			b.Fatal(err)
		}
		if used {
			_, _ = client.Write(make([]byte, 1<<20))
		}
		<-ready
	}
	cost := float64(memory()-before) / float64(conns)
	close(wait)
	for i := range conns {
		_ = clients[i].Close()
	}
	wg.Wait()
	for i := range conns {
		_ = servers[i].Close()
	}
	return cost
}

// relayUntilEnd is a relay's loop; ready is closed after 1 MiB.
func relayUntilEnd(c *Conn, ready chan struct{}) {
	total := 0
	for {
		buffer, err := c.WaitReadBuffer()
		if err != nil {
			return
		}
		total += buffer.Len()
		netio.Put(buffer)
		if ready != nil && total >= 1<<20 {
			close(ready)
			ready = nil
		}
	}
}

func memory() int64 {
	var m runtime.MemStats
	for range 4 { // stacks shrink by half a cycle
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// BenchmarkRead compares the relay's way of reading with crypto/tls alone.
func BenchmarkRead(b *testing.B) {
	for _, how := range []string{"heki", "crypto/tls"} {
		b.Run(how, func(b *testing.B) {
			client, server := connect(b, newServer(b, nil), nil)
			if how == "crypto/tls" {
				server.lower.parked = false
			}
			chunk := make([]byte, netio.BufferSize)
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					if _, err := client.Write(chunk); err != nil {
						return
					}
				}
			})
			p := make([]byte, netio.BufferSize)
			start := cpu()
			for b.Loop() {
				for n := 0; n < len(chunk); {
					if how == "crypto/tls" {
						m, err := server.engine.Read(p[n:])
						if err != nil {
							b.Fatal(err)
						}
						n += m
						continue
					}
					buffer, err := server.WaitReadBuffer()
					if err != nil {
						b.Fatal(err)
					}
					n += buffer.Len()
					netio.Put(buffer)
				}
			}
			b.ReportMetric(float64(cpu()-start)/float64(b.N)/float64(len(chunk)), "cpu-s/GB")
			_ = client.NetConn().Close()
			_ = server.NetConn().Close()
			wg.Wait()
		})
	}
}

// BenchmarkWrite sends relay buffers to a client that only drains its socket.
func BenchmarkWrite(b *testing.B) {
	for _, how := range []string{"heki", "crypto/tls"} {
		b.Run(how, func(b *testing.B) {
			client, server := connect(b, newServer(b, nil), nil)
			var w io.Writer = server
			if how == "crypto/tls" {
				w = server.engine
			}
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = io.Copy(io.Discard, struct{ io.Reader }{client.NetConn()}) })
			chunk := make([]byte, netio.BufferSize)
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			start := cpu()
			for b.Loop() {
				if _, err := w.Write(chunk); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu()-start)/float64(b.N)/float64(len(chunk)), "cpu-s/GB")
			_ = server.Close()
			wg.Wait()
		})
	}
}

func BenchmarkHandshake(b *testing.B) {
	s := newServer(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		x, y := tcpPair(b)
		client, server := handshake(b, s, x, y, nil)
		_ = client.Close()
		_ = server.Close()
	}
}

// cpu is the time that the process has worked, in nanoseconds: the machine is shared.
func cpu() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

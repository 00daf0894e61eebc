package h2

import (
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"

	"github.com/sagernet/sing/common/buf"
	"golang.org/x/net/http2"

	"heki/internal/netio"
	"heki/transport/internal/transporttest"
)

// sink reads a stream as the relay does.
func sink(w interface{ WaitReadBuffer() (*buf.Buffer, error) }, n int) error {
	for n > 0 {
		b, err := w.WaitReadBuffer()
		if err == io.EOF && n > 1<<60 {
			return nil
		}
		if err != nil {
			return err
		}
		n -= b.Len()
		netio.Put(b)
	}
	return nil
}

const chunk = 32 << 10

func BenchmarkUpload(b *testing.B) {
	got := make(chan error)
	k, _ := dialer(b, tunnel(), func(_ context.Context, s *Stream, _ *Message) {
		got <- sink(s, 1<<62)
		_ = s.Close()
	})
	s, err := k.Open(b.Context(), put(), ok)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(chunk)
	b.ReportAllocs()
	p := netio.Get()
	for b.Loop() {
		p.Reset()
		p.Resize(netio.Headroom, chunk)
		if err := s.WriteBuffer(netio.Filled(p)); err != nil {
			b.Fatal(err)
		}
	}
	_ = s.CloseWrite()
	if err := <-got; err != nil {
		b.Fatal(err)
	}
	_ = s.Close()
}

func BenchmarkUploadTheirs(b *testing.B) {
	got := make(chan error)
	srv := &http2.Server{MaxUploadBufferPerStream: 4 << 20, MaxUploadBufferPerConnection: 16 << 20}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		p := make([]byte, chunk)
		var err error
		for err == nil {
			_, err = r.Body.Read(p)
		}
		if err == io.EOF {
			err = nil
		}
		got <- err
	})
	var done sync.WaitGroup
	k := NewClient(ClientOptions{Dial: func(context.Context) (net.Conn, error) {
		a, c := transporttest.Pair(b)
		done.Go(func() { srv.ServeConn(c, &http2.ServeConnOpts{Handler: handler}) })
		return a, nil
	}})
	s, err := k.Open(b.Context(), put(), ok)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(chunk)
	b.ReportAllocs()
	p := netio.Get()
	for b.Loop() {
		p.Reset()
		p.Resize(netio.Headroom, chunk)
		if err := s.WriteBuffer(netio.Filled(p)); err != nil {
			b.Fatal(err)
		}
	}
	_ = s.CloseWrite()
	if err := <-got; err != nil {
		b.Fatal(err)
	}
	_ = s.Close()
	_ = k.Close()
	done.Wait()
}

func BenchmarkDownloadTheirs(b *testing.B) {
	srv := &http2.Server{}
	stop := make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		rc := http.NewResponseController(w)
		_ = rc.Flush()
		p := make([]byte, chunk)
		for {
			if _, err := w.Write(p); err != nil || rc.Flush() != nil {
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	var done sync.WaitGroup
	k := NewClient(ClientOptions{Dial: func(context.Context) (net.Conn, error) {
		a, c := transporttest.Pair(b)
		done.Go(func() { srv.ServeConn(c, &http2.ServeConnOpts{Handler: handler}) })
		return a, nil
	}})
	s, err := k.Open(b.Context(), put(), ok)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(chunk)
	b.ReportAllocs()
	for b.Loop() {
		if err := sink(s, chunk); err != nil {
			b.Fatal(err)
		}
	}
	close(stop)
	_ = s.Close()
	_ = k.Close()
	done.Wait()
}

func BenchmarkDownload(b *testing.B) {
	k, _ := dialer(b, tunnel(), func(_ context.Context, s *Stream, _ *Message) {
		p := netio.Get()
		for {
			p.Reset()
			p.Resize(netio.Headroom, chunk)
			if s.WriteBuffer(netio.Filled(p)) != nil {
				break
			}
		}
		_ = s.Close()
	})
	s, err := k.Open(b.Context(), put(), ok)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(chunk)
	b.ReportAllocs()
	for b.Loop() {
		if err := sink(s, chunk); err != nil {
			b.Fatal(err)
		}
	}
	_ = s.Close()
}

// BenchmarkIdle prints what a stream costs that waits, besides the goroutine that reads it: on a
// connection of its own, and on one with others.
func BenchmarkIdle(b *testing.B) {
	for _, shared := range []bool{false, true} {
		name := "conn"
		if shared {
			name = "stream"
		}
		b.Run(name, func(b *testing.B) {
			const streams = 400
			var total float64
			for b.Loop() {
				var wg sync.WaitGroup
				open := make(chan struct{}, streams)
				srv := tunnel()
				var raws []net.Conn
				conns := streams
				if shared {
					conns = 1
				}
				var before int64
				pairs := make([][2]net.Conn, conns)
				for i := range pairs {
					pairs[i][0], pairs[i][1] = transporttest.Pair(b)
				}
				before = memory()
				for i := range conns {
					raws = append(raws, pairs[i][0])
					result := serve(b, srv, pairs[i][1], func(_ context.Context, s *Stream, _ *Message) {
						open <- struct{}{}
						_, _ = s.WaitReadBuffer()
						_ = s.Close()
					})
					wg.Go(func() { <-result })
					out := appendSettings([]byte(Preface))
					for j := range streams / conns {
						out = appendHeaders(out, uint32(2*j+1), 0, put())
					}
					if _, err := pairs[i][0].Write(out); err != nil {
						b.Fatal(err)
					}
				}
				for range streams {
					<-open
				}
				total += float64(memory()-before) / streams
				for _, c := range raws {
					_ = c.Close()
				}
				wg.Wait()
			}
			b.ReportMetric(total/float64(b.N)/1024, "KiB/stream")
			b.ReportMetric(0, "ns/op")
		})
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

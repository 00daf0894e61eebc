package vless

import (
	"io"
	"net"
	"sync"
	"syscall"
	"testing"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/netio"
	"heki/internal/protocol/vision"
)

// cpu is the time that the process has worked, in nanoseconds: the machine may be shared.
func cpu() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// road is one way from a source to a sink, both of this process and the same on every road.
type road struct {
	sink   io.Reader
	source io.Writer
}

// carry moves n bytes and returns the nanoseconds of work that it took.
func (r road) carry(b *testing.B, n int64) int64 {
	b.Helper()
	start := cpu()
	var wg sync.WaitGroup
	wg.Go(func() {
		chunk := make([]byte, 256<<10)
		for left := n; left > 0; left -= int64(len(chunk)) {
			if _, err := r.source.Write(chunk[:min(left, int64(len(chunk)))]); err != nil {
				b.Error(err)
				return
			}
		}
	})
	p := make([]byte, 256<<10)
	for left := n; left > 0; {
		m, err := r.sink.Read(p)
		if left -= int64(m); err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
	return cpu() - start
}

// listen listens on loopback and returns the address as a destination.
func listen(b *testing.B) (net.Listener, M.Socksaddr) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	return l, M.SocksaddrFromNet(l.Addr())
}

func accept(b *testing.B, l net.Listener) net.Conn {
	b.Helper()
	c, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return c
}

// relayed is a plain TCP relay: what is read here was written to the far end.
func relayed(b *testing.B) (near, far net.Conn) {
	b.Helper()
	front, at := listen(b)
	back, to := listen(b)
	near, err := net.Dial("tcp", at.String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = near.Close() })
	client := accept(b, front)
	remote, err := net.Dial("tcp", to.String())
	if err != nil {
		b.Fatal(err)
	}
	far = accept(b, back)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = (&netio.Relay{Up: func(int64) {}, Down: func(int64) {}}).Run(client, remote)
	}()
	b.Cleanup(func() {
		_, _ = near.Close(), far.Close()
		<-done
	})
	return near, far
}

// left is a connection through the inbound whose directions have left TLS, or not.
func left(b *testing.B, leave bool) (near net.Conn, far net.Conn) {
	b.Helper()
	back, to := listen(b)
	s := startVision(b, nil)
	c := dialVision(visionAccount(0), to, s.dial(b))
	hello := "\x16\x03\x03\x00\x56\x02\x00\x00\x52\x03\x03" + string(make([]byte, 32)) + "\x20" + string(make([]byte, 32)) +
		"\x13\x01\x00\x00\x0a\x00\x2b\x00\x02\x03\x04\x00\x33\x00\x00"
	data := "\x17\x03\x03\x00\x03abc"
	if !leave {
		hello, data = "HTTP/1.1 200 OK", "text"
	}
	say := func(w io.Writer, r io.Reader, text string) {
		if _, err := io.WriteString(w, text); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, len(text))); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := io.WriteString(c, data); err != nil {
		b.Fatal(err)
	}
	far = accept(b, back)
	if _, err := io.ReadFull(far, make([]byte, len(data))); err != nil {
		b.Fatal(err)
	}
	say(far, c, hello)
	for range 8 {
		say(c, far, data)
		say(far, c, data)
	}
	if leave {
		if err := c.leave(); err != nil {
			b.Fatal(err)
		}
		say(c, far, data)
		if c.unpadder.Mode() != vision.ModeDirect {
			b.Fatal("the download has not left TLS")
		}
		return c.Conn, far
	}
	return c, far
}

// BenchmarkDirectCopy prints what a download costs after Vision has left TLS, beside a plain TCP relay
// and what stays in TLS, in CPU seconds per GB: source, relay and sink together, taking turns in one
// run. Goal: vision within 10 % of relay.
func BenchmarkDirectCopy(b *testing.B) {
	const size = 64 << 20
	for _, direction := range []string{"down", "up"} {
		b.Run(direction, func(b *testing.B) {
			roads := make(map[string]road)
			for name, open := range map[string]func() (net.Conn, net.Conn){
				"relay":  func() (net.Conn, net.Conn) { return relayed(b) },
				"vision": func() (net.Conn, net.Conn) { return left(b, true) },
				"tls":    func() (net.Conn, net.Conn) { return left(b, false) },
			} {
				near, far := open()
				roads[name] = road{sink: near, source: far}
				if direction == "up" {
					roads[name] = road{sink: far, source: near}
				}
			}
			work := make(map[string]int64)
			b.SetBytes(int64(len(roads)) * size)
			for b.Loop() {
				for name, r := range roads {
					work[name] += r.carry(b, size)
				}
			}
			for name, ns := range work {
				b.ReportMetric(float64(ns)/float64(b.N)/size, name+"-cpu-s/GB")
			}
			b.ReportMetric(float64(work["vision"])/float64(work["relay"]), "vision/relay")
		})
	}
}

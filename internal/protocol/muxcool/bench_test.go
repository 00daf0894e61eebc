package muxcool

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire/wiretest"
)

func BenchmarkParseFrame(b *testing.B) { // 0 allocs; TestParseFrameAllocs pins them
	in := AppendFrame(nil, udp(0, StatusKeep, "1.2.3.4:53"))
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = ParseFrame(in, "")
	}
}

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

// BenchmarkUp is one 8 KiB frame of a client to its reader.
func BenchmarkUp(b *testing.B) {
	frame := encode(Frame{ID: 1, Status: StatusKeep}, strings.Repeat("x", 8<<10))
	s := newServer(b.Context(), wiretest.NewDiscard(&wiretest.Cycle{B: []byte(frame)}), Options{IdleTimeout: time.Hour})
	defer s.shutdown()
	st := newStream(s, 1)
	s.add(1, st)
	b.SetBytes(8 << 10)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.next(); err != nil {
			b.Fatal(err)
		}
		chunk, _ := st.WaitReadBuffer()
		chunk.Release()
	}
}

// BenchmarkStream is a stream opened, answered and ended over a pipe, goroutines and all.
func BenchmarkStream(b *testing.B) {
	local, remote := net.Pipe()
	done := make(chan error, 1)
	h := handler{stream: func(_ context.Context, conn net.Conn, _ M.Socksaddr) {
		c, _ := conn.(N.ReadWaiter).WaitReadBuffer()
		c.Release()
	}}
	go func() { done <- Serve(context.Background(), wiretest.NewPeeker(remote), Options{Handler: h}) }()
	open := []byte(encode(Frame{ID: 1, Status: StatusNew, Network: NetworkTCP, Address: M.ParseSocksaddr("a.io:80")}, "hello"))
	end := make([]byte, fixed)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := local.Write(open); err != nil {
			b.Fatal(err)
		}
		if _, err := local.Read(end); err != nil {
			b.Fatal(err)
		}
	}
	local.Close()
	<-done
}

//go:build linux

package app

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/inbound"
	"heki/internal/netio"
	"heki/option"
	"heki/outbound"
	"heki/outbound/direct"
	"heki/route"
)

// bare is a protocol of nothing: every datagram goes to one target.
type bare struct {
	sessions *inbound.Sessions[netip.AddrPort, bareState]
	target   M.Socksaddr
}

type bareState struct{}

func (bareState) Seal(*buf.Buffer, M.Socksaddr) error { return nil }
func (bareState) Headroom() (int, int)                { return 0, 0 }

func (p *bare) ServePacket(b *buf.Buffer, from inbound.Endpoint) error {
	s, err := p.sessions.Open(from.Source, nil, bareState{}, from, p.target)
	if err != nil {
		netio.Put(b)
		return err
	}
	s.Deliver(b, p.target, from)
	return nil
}

// single hides that an outbound hands over many packets at once.
type single struct{ adapter.Outbound }

func (s single) ListenPacket(ctx context.Context, md *adapter.Metadata) (N.PacketConn, error) {
	c, err := s.Outbound.ListenPacket(ctx, md)
	return struct {
		N.PacketConn
		N.PacketReadWaiter
	}{c, c.(N.PacketReadWaiter)}, err
}

type onlyOne struct{ adapter.Outbound }

func (o onlyOne) Get(string) adapter.Outbound { return o.Outbound }

func listenLoopback(b *testing.B) *netio.PacketSocket {
	b.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	s, err := netio.NewPacketSocket(c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

func addrOf(c net.PacketConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

func worked(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPacketRelay asks a target through inbound, router and direct outbound, and gets 16
// datagrams of 1200 bytes for each question. An operation is one of those; cpu-ns/op has the target's and
// the client's work in it, which is the same for all. The target sends them joined, as QUIC servers
// do, or each for itself.
func BenchmarkPacketRelay(b *testing.B) {
	for _, bench := range []struct {
		name           string
		joined, single bool
	}{{"each", false, false}, {"each, one at a time", false, true}, {"joined", true, false}, {"joined, one at a time", true, true}} {
		b.Run(bench.name, func(b *testing.B) {
			target, client := listenLoopback(b), listenLoopback(b)
			go answer(target, bench.joined)
			log := slog.New(slog.DiscardHandler)
			out, err := direct.New(outbound.Env{Log: log}, "direct", new(option.Direct))
			if err != nil {
				b.Fatal(err)
			}
			if bench.single {
				out = single{out}
			}
			router, err := route.New(option.Route{}, onlyOne{out}, nil, nil, log)
			if err != nil {
				b.Fatal(err)
			}
			p := &bare{target: M.SocksaddrFromNetIP(addrOf(target))}
			in, err := inbound.NewPacket(inbound.Env{Router: router, Log: log}, "in", "bare", &option.Listen{Listen: option.Listable[string]{"127.0.0.1"}}, p)
			if err != nil {
				b.Fatal(err)
			}
			p.sessions = inbound.NewSessions[netip.AddrPort, bareState](in)
			if err := in.Start(); err != nil {
				b.Fatal(err)
			}
			defer in.Close()
			to := in.Addresses()[0].(*net.UDPAddr).AddrPort()
			r, err := netio.NewBatchReader(client.UDPConn)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(1200)
			b.ReportAllocs()
			began := worked(b)
			for done := 0; done < b.N; done += netio.BatchSize {
				_ = client.Send([]byte("ask"), to, netip.Addr{})
				for got := 0; got < netio.BatchSize; {
					batch, err := r.Read()
					if err != nil {
						b.Fatal(err)
					}
					got += len(batch.Datagrams())
					batch.Put()
				}
			}
			b.ReportMetric(float64(worked(b)-began)/float64(b.N), "cpu-ns/op")
		})
	}
}

// answer sends 16 datagrams for each that comes, until s is closed.
func answer(s *netio.PacketSocket, joined bool) {
	bs := make([]*buf.Buffer, netio.BatchSize)
	for i := range bs {
		bs[i] = buf.As(make([]byte, 1200))
	}
	question := make([]byte, 100)
	for {
		_, from, err := s.ReadFromUDPAddrPort(question)
		if err != nil {
			return
		}
		if joined {
			_ = s.SendBatch(bs, from, netip.Addr{})
			continue
		}
		for _, b := range bs {
			_ = s.Send(b.Bytes(), from, netip.Addr{})
		}
	}
}

package shadowsocks

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"heki/adapter"
	"heki/inbound/internal/match"
	"heki/internal/netio"
	"heki/internal/protocol/shadowsocks"
	"heki/internal/protocol/ss2022"
)

// cpu is the processor time that the process has taken: other processes do not change it.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkIdentify is what it costs to find whose stream an AEAD connection is: of a user whose
// address is known, which is one try whatever the number of users, of one whose is not, the last of
// them, and of nobody.
func BenchmarkIdentify(b *testing.B) {
	c := client{classic: shadowsocks.AES256GCM, at: someTime}
	for _, users := range []int{1, 10_000} {
		in, _ := newTestInbound(b, c, NewMemory(), users).(*classic)
		for _, who := range []string{"cached", "new address", "nobody"} {
			b.Run(fmt.Sprintf("%s/%d", who, users), func(b *testing.B) {
				known := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), 1)
				request := c.header(c.account(users-1), net.TCPAddrFromAddrPort(known))
				if who == "nobody" {
					request = random(len(request))
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					// Salts are seen once and users are remembered: the search alone, as identify does it.
					t := tries{in: in, trial: in.trial(), users: in.users.Load(), patience: time.Second}
					t.from = known.Addr()
					if who == "cached" {
						in.memory.Sources.Note(t.from, t.users.entries[users-1].id, someTime)
					} else {
						t.from = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
					}
					t.trial.BeginStream(request)
					_, err := t.search(b.Context())
					in.trials.Put(t.trial)
					if (err == nil) == (who == "nobody") {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkLookup2022 is what it costs to authenticate a request of 2022, the same with any number of
// users.
func BenchmarkLookup2022(b *testing.B) {
	for _, users := range []int{1, 50_000} {
		b.Run(fmt.Sprint(users), func(b *testing.B) {
			c := client{modern: ss2022.AES128GCM, at: someTime}
			in, _ := newTestInbound(b, c, NewMemory(), users).(*modern)
			set := in.users.Load()
			requests := make([][]byte, 1000) // several users, as their keys are apart in memory
			for i := range requests {
				requests[i] = c.header(c.account(i*7919%users), &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443})
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				request := requests[i%len(requests)]
				who, ok := set.byHash[ss2022.Identify(in.method, in.serverKey, request)]
				if !ok {
					b.Fatal("a user is nobody")
				}
				if _, _, err := ss2022.OpenRequest(in.method, who.key, request, true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkBanned is what a connection costs that comes from a banned address: taken, looked up and
// closed, the client's half and the kernel's work included. At 2 000 a second that has to leave 90 % of a
// core.
func BenchmarkBanned(b *testing.B) {
	in, _ := newTestInbound(b, client{classic: shadowsocks.AES128GCM, at: someTime}, NewMemory(), 10_000).(*classic)
	in.streams = match.NewBans(1, time.Minute, time.Hour)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	junk := random(200)
	in.streams.Failed(netip.MustParseAddr("127.0.0.1"), someTime)
	start := cpu(b)
	b.ReportAllocs()
	for b.Loop() {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Write(junk); err != nil {
			b.Fatal(err)
		}
		taken, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		md := new(adapter.Metadata)
		md.Source = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 1)
		if err := in.ServeStream(b.Context(), netio.NewConn(taken), md); err == nil {
			b.Fatal("served")
		}
		taken.Close()
		conn.Close()
	}
	each := (cpu(b) - start) / time.Duration(b.N)
	b.ReportMetric(float64(each), "cpu-ns/op")
	b.ReportMetric(100*2000*each.Seconds(), "%core@2000/s")
}

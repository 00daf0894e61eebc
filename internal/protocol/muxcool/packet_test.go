package muxcool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/muxio"
	"heki/internal/protocol/wire"
	"heki/internal/protocol/wire/wiretest"
)

// Trap 6: every reply names its source, every packet its destination, else it is the first one.
func TestReplyHasItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, Options{Handler: echo})
		reply := func(id uint16, from, data string) {
			t.Helper()
			f := c.recv()
			if f.ID != id || f.Status != StatusKeep || f.Network != NetworkUDP || f.Address.String() != from || f.data != data {
				t.Errorf("got %+v, want %q of %s on %d", f, data, from, id)
			}
		}
		for _, id := range []uint16{0, 5} { // XUDP and a session of Mux.Cool are alike
			c.openUDP(id, "a.io:53", "first")
			reply(id, "a.io:53", "first")
			c.send(udp(id, StatusKeep, "[2001:db8::1]:54"), "second")
			reply(id, "[2001:db8::1]:54", "second")
			c.keep(id, "third, without address")
			reply(id, "a.io:53", "third, without address")
			c.send(udp(id, StatusKeep, "1.2.3.4:55"), strings.Repeat("x", MaxReply))
			reply(id, "1.2.3.4:55", strings.Repeat("x", MaxReply))
		}
		c.end(0)
		c.end(5)
		c.silent()
		c.close()
	})
}

func TestPacketsThatAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, Options{Handler: echo})
		c.openUDP(1, "1.1.1.1:1", "")
		c.raw(string(AppendFrame(nil, Frame{ID: 1, Status: StatusKeep, Option: OptionData}))) // empty
		c.raw("\x00\x0a\x00\x01\x02\x01\x02\x00\x50\x02\x01/\x00\x03abc")                     // a bad host
		c.keep(1, strings.Repeat("x", MaxReply+1))                                            // its echo is too large
		c.silent()
		c.keep(1, "alive")
		c.want(1, "alive")
		c.close()
	})
}

// The newest packets are dropped when nobody reads, and nothing else waits for it.
func TestPacketQueueDropsTheNewest(t *testing.T) {
	for _, tt := range []struct{ size, sent, want int }{
		{10, muxio.PacketQueue + 20, muxio.PacketQueue},
		{60_000, 20, muxio.PacketBytes / 60_000},
	} {
		synctest.Test(t, func(t *testing.T) {
			read := make(chan int, 1)
			c := dial(t, Options{Handler: handler{packet: func(_ context.Context, conn N.PacketConn, _ M.Socksaddr) {
				time.Sleep(time.Second)
				for n := 0; ; n++ {
					b, _, err := conn.(N.PacketReadWaiter).WaitReadPacket()
					if err != nil {
						if err != io.EOF {
							t.Errorf("%v, want EOF", err)
						}
						read <- n
						return
					}
					if want := fmt.Sprintf("%05d", n); string(b.To(5)) != want {
						t.Errorf("packet %s, want %s", b.To(5), want)
					}
					b.Release()
				}
			}}})
			start := time.Now()
			c.openUDP(1, "1.1.1.1:1", "")
			for i := range tt.sent {
				c.keep(1, fmt.Sprintf("%05d%*s", i, tt.size-5, ""))
			}
			c.end(1)
			if time.Since(start) != 0 {
				t.Error("the connection waits for a packet session")
			}
			if got := <-read; got != tt.want {
				t.Errorf("%d packets of %d bytes were kept, want %d", got, tt.size, tt.want)
			}
			c.close()
		})
	}
}

func TestPacketReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dial(t, Options{Handler: handler{packet: func(_ context.Context, conn N.PacketConn, dst M.Socksaddr) {
			if dst.String() != "a.io:1" {
				t.Errorf("destination %s", dst)
			}
			time.Sleep(time.Second)
			b := buf.NewSize(4)
			defer b.Release()
			if from, err := conn.ReadPacket(b); err != nil || from.Port != 2 || string(b.Bytes()) != "fits" {
				t.Errorf("read %q for %s, %v", b.Bytes(), from, err)
			}
			w := conn.(N.PacketReadWaiter)
			w.InitializeReadWaiter(N.ReadWaitOptions{FrontHeadroom: 10, RearHeadroom: 20})
			for _, want := range []string{"queued before", "queued after"} {
				b, _, err := w.WaitReadPacket()
				if err != nil || string(b.Bytes()) != want || b.Start() < 10 || b.FreeLen() < 20 {
					t.Errorf("%q at %d, %d free, %v", b.Bytes(), b.Start(), b.FreeLen(), err)
				}
				b.Release()
			}
			start := time.Now()
			_ = conn.SetReadDeadline(start.Add(time.Second))
			if _, err := conn.ReadPacket(b); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("%v after %s, want a timeout", err, time.Since(start))
			}
			if conn.LocalAddr() == nil {
				t.Error("no address")
			}
			_ = N.CloseOnHandshakeFailure(conn, nil, io.ErrNoProgress)
			if _, err := conn.ReadPacket(b); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read of a closed session: %v", err)
			}
			if err := conn.WritePacket(buf.As([]byte("x")), dst); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write of a closed session: %v", err)
			}
		}}})
		c.openUDP(1, "a.io:1", "too long")
		c.send(udp(1, StatusKeep, "a.io:2"), "fits")
		c.keep(1, "queued before")
		time.Sleep(2 * time.Second)
		c.keep(1, "queued after")
		c.wantEnd(1, OptionError)
		c.close()
	})
}

func TestPacketSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := make(chan error, 2)
		c := dial(t, Options{Handler: handler{packet: func(_ context.Context, conn N.PacketConn, dst M.Socksaddr) {
			b := buf.NewSize(10)
			defer b.Release()
			_, err := conn.ReadPacket(b)
			results <- err
			if err := conn.WritePacket(buf.As([]byte("x")), dst); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("write after the end: %v, want ErrClosedPipe", err)
			}
		}}})
		c.openUDP(1, "1.1.1.1:1", "")
		c.end(1)
		if err := <-results; err != io.EOF {
			t.Errorf("after End: %v, want EOF", err)
		}
		c.openUDP(1, "1.1.1.1:1", "")
		c.close()
		if err := <-results; !errors.Is(err, ErrClosed) {
			t.Errorf("after the connection: %v, want ErrClosed", err)
		}
	})
}

func TestPacketAllocs(t *testing.T) {
	s := newServer(t.Context(), wiretest.NewDiscard(strings.NewReader("")), Options{IdleTimeout: time.Hour})
	defer s.shutdown()
	for _, from := range []string{"1.2.3.4:53", "www.example.com:443"} {
		p := newPacketConn(s, 0, M.Socksaddr{})
		source, b := M.ParseSocksaddr(from), buf.With(make([]byte, 2048))
		n := testing.AllocsPerRun(100, func() {
			b.Resize(300, 1200)
			_ = p.WritePacket(b, source)
		})
		if n != 0 {
			t.Errorf("reply from %s: %v allocations, want 0", from, n)
		}
	}
}

// What a packet costs from the wire to its reader: sing's buffer, whose bytes are pooled.
func TestPacketDeliveryAllocs(t *testing.T) {
	frame := encode(udp(0, StatusKeep, "www.example.com:443"), strings.Repeat("x", 1200))
	s := newServer(t.Context(), wiretest.NewDiscard(&wiretest.Cycle{B: []byte(frame)}), Options{IdleTimeout: time.Hour})
	defer s.shutdown()
	p := newPacketConn(s, 0, M.Socksaddr{})
	s.add(0, p)
	n := testing.AllocsPerRun(100, func() {
		if err := s.next(); err != nil {
			t.Fatal(err)
		}
		b, _, _ := p.WaitReadPacket()
		b.Release()
	})
	if n > 1 {
		t.Errorf("%v allocations, want at most 1", n)
	}
}

var _ wire.Conn = (*wiretest.Fake)(nil)

package inbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/internal/netio"
	"heki/option"
)

// plain seals nothing.
type plain struct{}

func (plain) Seal(*buf.Buffer, M.Socksaddr) error { return nil }
func (plain) Headroom() (int, int)                { return 0, 0 }

// holding is a router that keeps each session until it ends.
type holding struct {
	mu     sync.Mutex
	ends   map[string]error // by first destination
	read   func(N.PacketConn) error
	result error
}

func (h *holding) RouteConn(context.Context, net.Conn, *adapter.Metadata) error { return nil }

func (h *holding) RoutePacketConn(_ context.Context, conn N.PacketConn, md *adapter.Metadata) error {
	defer conn.Close()
	err := h.result
	for err == nil {
		if h.read != nil {
			err = h.read(conn)
			continue
		}
		var b *buf.Buffer
		if b, _, err = conn.(N.PacketReadWaiter).WaitReadPacket(); err == nil {
			netio.Put(b)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ends == nil {
		h.ends = make(map[string]error)
	}
	h.ends[md.Destination.String()] = err
	return err
}

func (h *holding) end(to M.Socksaddr) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ends[to.String()]
}

func newTable(t *testing.T, router adapter.Router) *Sessions[int, plain] {
	t.Helper()
	p, err := NewPacket(Env{Router: router, Log: slog.New(slog.DiscardHandler)}, "in", "toy", new(option.Listen), nil)
	if err != nil {
		t.Fatal(err)
	}
	return NewSessions[int, plain](p)
}

func toPort(port int) M.Socksaddr {
	return M.Socksaddr{Addr: netip.MustParseAddr("192.0.2.1"), Port: uint16(port)}
}

func mustOpen(t *testing.T, table *Sessions[int, plain], key int, user *adapter.User) *Session[int, plain] {
	t.Helper()
	s, err := table.Open(key, user, plain{}, Endpoint{}, toPort(key))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func deliver(s *Session[int, plain], port int) {
	s.Deliver(netio.Filled(netio.GetSmall()), toPort(port), Endpoint{})
}

func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		router := new(holding)
		table := newTable(t, router)
		began := time.Now()
		dns, web, busy := mustOpen(t, table, 53, nil), mustOpen(t, table, 443, nil), mustOpen(t, table, 80, nil)
		deliver(dns, 53)
		deliver(web, 443)
		deliver(busy, 80)
		ended := func(s *Session[int, plain]) time.Duration {
			for !s.hasEnded() && time.Since(began) < time.Hour {
				time.Sleep(time.Second)
				if time.Since(began) < 10*time.Minute {
					busy.note() // an answer
				}
			}
			return time.Since(began)
		}
		for _, tt := range []struct {
			s        *Session[int, plain]
			from, to time.Duration
		}{
			{dns, 30 * time.Second, 40 * time.Second},
			{web, 2 * time.Minute, 130 * time.Second},
			{busy, 11 * time.Minute, 13 * time.Minute},
		} {
			if at := ended(tt.s); at < tt.from || at > tt.to {
				t.Errorf("session %d ended after %s", tt.s.key, at)
			}
			synctest.Wait()
			if err := router.end(toPort(tt.s.key)); !errors.Is(err, netio.ErrIdle) {
				t.Errorf("session %d: %v", tt.s.key, err)
			}
		}
		if table.len() != 0 || len(table.users) != 0 || table.Get(443) != nil {
			t.Error("something is left")
		}
		mustOpen(t, table, 1, nil) // the sweeper wakes again
		time.Sleep(3 * time.Minute)
		if table.len() != 0 {
			t.Error("swept once only")
		}
		_ = table.packet.Close()
	})
}

func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		router := new(holding)
		table := newTable(t, router)
		table.max, table.perMax = 6, 3
		a, b := &adapter.User{Account: adapter.Account{Name: "a"}}, &adapter.User{Account: adapter.Account{Name: "b"}}
		has := func(keys ...int) {
			t.Helper()
			got := ""
			for i := range 20 {
				if table.Get(i) != nil {
					got += fmt.Sprint(i, " ")
				}
			}
			want := ""
			for _, k := range keys {
				want += fmt.Sprint(k, " ")
			}
			if got != want || table.len() != len(keys) {
				t.Errorf("sessions %s(%d), want %s", got, table.len(), want)
			}
		}
		open := func(key int, u *adapter.User) {
			time.Sleep(time.Millisecond)
			mustOpen(t, table, key, u)
		}
		open(1, a)
		open(2, a)
		open(3, a)
		time.Sleep(time.Millisecond)
		deliver(table.Get(1), 1)
		open(4, a) // the user's longest silent one ends
		has(1, 3, 4)
		open(5, b)
		open(6, b)
		open(7, b)
		has(1, 3, 4, 5, 6, 7)
		open(8, nil) // the longest silent of all ends
		has(1, 4, 5, 6, 7, 8)
		synctest.Wait()
		for _, k := range []int{2, 3} {
			if err := router.end(toPort(k)); !errors.Is(err, errEvicted) {
				t.Errorf("%d: %v", k, err)
			}
		}
		table.Get(5).End()
		has(1, 4, 6, 7, 8)
		_ = table.packet.Close()
		has()
		if _, err := table.Open(9, a, plain{}, Endpoint{}, toPort(9)); !errors.Is(err, ErrRetired) {
			t.Errorf("closed: %v", err)
		}
		if len(table.users) != 0 {
			t.Error("users are left")
		}
	})
}

// A reader that stands still loses datagrams, and nobody waits for it.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := make(chan struct{})
		got := make(chan int, 100)
		router := &holding{read: func(conn N.PacketConn) error {
			<-start
			b := buf.NewSize(100)
			defer b.Release()
			to, err := conn.ReadPacket(b)
			got <- int(to.Port)
			return err
		}}
		table := newTable(t, router)
		s := mustOpen(t, table, 1, nil)
		for i := range sessionQueue + 10 {
			deliver(s, i+1)
		}
		close(start)
		synctest.Wait()
		if len(got) != sessionQueue {
			t.Errorf("%d datagrams came", len(got))
		}
		for i := range sessionQueue {
			if port := <-got; port != i+1 {
				t.Fatalf("datagram %d came as %d", i+1, port)
			}
		}
		long := netio.GetSmall()
		long.Truncate(200)
		s.Deliver(netio.Filled(long), toPort(7), Endpoint{}) // no room for it: lost
		deliver(s, 8)
		if port := <-got; port != 8 {
			t.Errorf("got %d", port)
		}
		_ = table.packet.Close()
	})
}

func TestReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := make(chan error, 3)
		router := &holding{read: func(conn N.PacketConn) error {
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			_, _, err := conn.(N.PacketReadWaiter).WaitReadPacket()
			results <- err
			_ = conn.SetReadDeadline(time.Time{})
			b, _, err := conn.(N.PacketReadWaiter).WaitReadPacket()
			netio.Put(b)
			results <- err
			return errors.Join(err, errors.New("enough"))
		}}
		table := newTable(t, router)
		s := mustOpen(t, table, 1, nil)
		if err := <-results; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
		deliver(s, 1)
		if err := <-results; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if !s.hasEnded() || table.len() != 0 {
			t.Error("a session outlives its route")
		}
		_ = table.packet.Close()
	})
}

// A client over a limit is not routed again for a moment; a removed user's may come back at once.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		router := &holding{result: fmt.Errorf("connections: %w", adapter.ErrLimited)}
		table := newTable(t, router)
		mustOpen(t, table, 1, nil)
		synctest.Wait()
		if _, err := table.Open(1, nil, plain{}, Endpoint{}, toPort(1)); !errors.Is(err, ErrRefused) {
			t.Errorf("err = %v", err)
		}
		time.Sleep(refusedFor)
		mustOpen(t, table, 1, nil)
		for i := range 100 * sessionShards {
			mustOpen(t, table, i+2, nil)
		}
		synctest.Wait()
		for i := range table.shards {
			if n := len(table.shards[i].refused); n > maxRefused {
				t.Errorf("%d refused clients are remembered", n)
			}
		}
		router.result = fmt.Errorf("user %w: %w", adapter.ErrRemoved, adapter.ErrLimited)
		time.Sleep(refusedFor)
		mustOpen(t, table, 3, nil)
		synctest.Wait()
		mustOpen(t, table, 3, nil)
		_ = table.packet.Close()
	})
}

// Sessions open, end, are evicted and close at the same time.
func TestSessionsRace(t *testing.T) {
	table := newTable(t, new(holding))
	table.max, table.perMax = 50, 20
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			u := &adapter.User{Account: adapter.Account{Name: fmt.Sprint(g % 3)}}
			for i := range 500 {
				s, err := table.Open(i%70, u, plain{}, Endpoint{}, toPort(1))
				if err != nil {
					return
				}
				deliver(s, i)
				if i%7 == 0 {
					s.End()
				}
			}
		})
	}
	wg.Wait()
	if n := table.len(); n > 50 {
		t.Errorf("%d sessions", n)
	}
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				if s, err := table.Open(i, nil, plain{}, Endpoint{}, toPort(1)); err == nil {
					deliver(s, g)
				}
			}
		})
	}
	_ = table.packet.Close()
	wg.Wait()
	if table.len() != 0 || len(table.users) != 0 {
		t.Errorf("%d sessions and %d users are left", table.len(), len(table.users))
	}
	for i := range table.shards {
		if sh := &table.shards[i]; len(sh.byKey) != 0 || sh.newest != nil || sh.oldest != nil {
			t.Error("a shard is not empty")
		}
	}
}

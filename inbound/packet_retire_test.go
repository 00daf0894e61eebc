package inbound_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"syscall"
	"testing"

	"heki/inbound"
	"heki/option"
	"heki/transport/udp"
)

// The port changes hands: old sessions go on where they are, new ones open at the new inbound, and no
// datagram is lost.
func TestPacketRetire(t *testing.T) {
	pool := new(udp.Pool)
	first, second := new(echoPackets), new(echoPackets)
	o := &option.Listen{Listen: option.Listable[string]{"127.0.0.1"}, ListenPort: freeUDP(t)}
	old, _ := startToyOn(t, pool, first, o)
	stays := dialToy(t, old)
	askUDP(t, stays, toyRequest(0, target, "1"))
	next, _ := startToyOn(t, pool, second, o)
	old.Retire()
	moves := dialToy(t, next)
	for range 20 {
		askUDP(t, stays, toyRequest(0, target, "2"))
		askUDP(t, moves, toyRequest(0, target, "3"))
	}
	if len(first.seen()) != 1 || len(second.seen()) != 1 || old.Open() != 1 || next.Open() != 1 {
		t.Fatalf("%d and %d sessions", len(first.seen()), len(second.seen()))
	}
	// A session that the retired one does not know is for the new one, from the same client too.
	askUDP(t, stays, toyRequest(1, target, "4"))
	if len(second.seen()) != 2 {
		t.Error("the new inbound did not get a new session")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		old.Wait(ctx)
	}()
	cancel() // a retired inbound's time is up
	<-done
	_ = old.Close()
	askUDP(t, stays, toyRequest(0, target, "5"))
	if len(second.seen()) != 3 {
		t.Error("the new inbound did not get the client of the old one")
	}
	_ = next.Close()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(o.ListenPort)})
	if err != nil {
		t.Fatalf("the port is still taken: %v", err)
	}
	_ = c.Close()
}

// A retired inbound that nobody replaced serves its sessions, and ends with the last.
func TestPacketRetireAlone(t *testing.T) {
	router := new(echoPackets)
	in, h := startToy(t, router, nil)
	c := dialToy(t, in)
	askUDP(t, c, toyRequest(0, target, "1"))
	in.Retire()
	_, _ = dialToy(t, in).Write(toyRequest(0, target, "unheard"))
	askUDP(t, c, toyRequest(0, target, "2"))
	go h.sessions.Get(toyKey{c.LocalAddr().(*net.UDPAddr).AddrPort(), 0}).End()
	in.Wait(t.Context())
	if len(router.seen()) != 1 || in.Open() != 0 {
		t.Errorf("%d sessions, %d open", len(router.seen()), in.Open())
	}
}

// Another program's port is not taken.
func TestPacketBusy(t *testing.T) {
	in, _ := startToy(t, new(echoPackets), nil)
	o := &option.Listen{Listen: option.Listable[string]{"127.0.0.1"}, ListenPort: uint16(in.Addresses()[0].(*net.UDPAddr).Port)}
	twin, err := inbound.NewPacket(inbound.Env{Log: slog.New(slog.DiscardHandler)}, "in", "toy", o, new(toy))
	if err != nil {
		t.Fatal(err)
	}
	if err := twin.Start(); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("err = %v", err)
	}
	_ = twin.Close()
}

func freeUDP(t testing.TB) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return uint16(c.LocalAddr().(*net.UDPAddr).Port)
}

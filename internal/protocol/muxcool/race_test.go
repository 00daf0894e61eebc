package muxcool

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"heki/internal/protocol/wire/wiretest"
)

// Connections that fight for the same sockets, end them and vanish leave nothing behind. The race
// detector and goleak look on.
func TestManyConnectionsOneSocket(t *testing.T) {
	var sessions atomic.Int32
	r := NewRegistry()
	h := counted(&sessions)
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for round := range 40 {
				local, remote := net.Pipe()
				var both sync.WaitGroup
				both.Go(func() { // what the server says
					_, _ = io.Copy(io.Discard, local)
				})
				both.Go(func() {
					_ = Serve(context.Background(), wiretest.NewPeeker(remote), Options{Handler: h, Registry: r, User: "u"})
				})
				for id := range uint16(4) {
					g := GlobalID{1, byte((int(id) + n + round) % 3)}
					for _, frame := range []string{
						encode(xudp(id, g), "new"),
						encode(Frame{ID: id, Status: StatusKeep}, "keep"),
						encode(Frame{ID: id, Status: StatusEnd}, "")[:6*(round%2)],
					} {
						_, _ = io.WriteString(local, frame)
					}
				}
				_ = local.Close()
				both.Wait()
			}
		})
	}
	all.Wait()
	if n := r.Len(); n > 3 {
		t.Errorf("%d sessions of 3 sockets", n)
	}
	r.Close()
	if n := r.Len(); n != 0 {
		t.Errorf("%d sessions after Close, want 0", n)
	}
	if n := sessions.Load(); n < 3 {
		t.Errorf("%d sessions, want 3 at least", n)
	}
}

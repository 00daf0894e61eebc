package dns

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"heki/option"
)

// TestFind: a server's host that the system does not know is asked of the servers with an address.
func TestFind(t *testing.T) {
	c := newClient(option.DNS{}, slog.New(slog.DiscardHandler))
	byName, down, byAddress := &fake{handle: both(0)}, &fake{handle: refused}, &fake{handle: both(0)}
	c.add(newServer(byName, "name", "tls://dns.example", c.log), "")
	c.add(newServer(down, "down", "192.0.2.52", c.log), "")
	c.add(newServer(byAddress, "address", "https://192.0.2.53/dns-query", c.log), "")
	c.finish(c.own)
	defer mustClose(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // half of it is the system's
	defer cancel()
	got, err := c.find(ctx, "no-such-host.invalid")
	if err != nil || !slices.Equal(got, []netip.Addr{addr4}) || byName.count() != 0 || down.count() == 0 {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := c.find(ctx, "localhost"); err != nil || len(got) == 0 || !got[0].IsLoopback() {
		t.Errorf("localhost is %v, %v, want what the system says", got, err)
	}
	byAddress.set(failing)
	if _, err := c.find(ctx, "no-such-host.invalid"); err == nil {
		t.Error("found although nobody answers")
	}
}

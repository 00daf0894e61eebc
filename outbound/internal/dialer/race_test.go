package dialer

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRaceStaggersAndClosesLosers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		addrs := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")}
		start := time.Now()
		c, err := race(t.Context(), addrs, func(ctx context.Context, a netip.Addr) (net.Conn, error) {
			switch a {
			case addrs[0]: // never answers
				<-ctx.Done()
				return nil, ctx.Err()
			case addrs[1]:
				return nil, errors.New("refused")
			}
			p, _ := net.Pipe()
			return p, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != stagger {
			t.Errorf("took %s, want one stagger of %s", d, stagger)
		}
		c.Close()
	})
}

package hysteria2

import (
	"testing"
	"time"

	"github.com/sagernet/quic-go/congestion"
	brutal "github.com/sagernet/sing-quic/hysteria/congestion"
)

// near is how long packets of a client take.
type near struct {
	congestion.RTTStatsProvider
	rtt time.Duration
}

func (n near) SmoothedRTT() time.Duration { return n.rtt }

func TestBrutalWindow(t *testing.T) {
	const rate = 1 << 20 // bytes per second
	for rtt, want := range map[time.Duration]congestion.ByteCount{
		0:                      leastWindow,
		500 * time.Microsecond: leastWindow, // Brutal's own: 1048 bytes, less than a packet
		time.Second / 4:        rate / 2,
	} {
		s := brutalSender{brutal.NewBrutalSender(rate, 1280, false, nil)}
		s.SetRTTStatsProvider(near{rtt: rtt})
		if got := s.GetCongestionWindow(); got != want {
			t.Errorf("%s: %d, want %d", rtt, got, want)
		}
		if !s.CanSend(want-1) || s.CanSend(want) {
			t.Errorf("%s: may not send up to %d", rtt, want)
		}
	}
}

package hysteria2

import (
	"github.com/sagernet/quic-go/congestion"
	brutal "github.com/sagernet/sing-quic/hysteria/congestion"
)

// leastWindow is what a Brutal sender may always have on its way, in bytes: what it begins with.
const leastWindow = 10240

// brutalSender is Brutal whose window does not shrink below a few packets. Brutal's is what fits two round
// trips: at 8 Mbit/s and half a millisecond less than one packet, and a client confirms one packet alone
// after 25 ms only, so that users with a limit near their server had 1 Mbit/s of 8. The pacer keeps the rate.
type brutalSender struct{ *brutal.BrutalSender }

// GetCongestionWindow implements congestion.CongestionControl.
func (s brutalSender) GetCongestionWindow() congestion.ByteCount {
	return max(s.BrutalSender.GetCongestionWindow(), leastWindow)
}

// CanSend implements congestion.CongestionControl.
func (s brutalSender) CanSend(inFlight congestion.ByteCount) bool {
	return inFlight < s.GetCongestionWindow()
}

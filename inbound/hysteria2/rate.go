package hysteria2

import (
	"github.com/sagernet/quic-go"
	bbr "github.com/sagernet/sing-quic/congestion_meta2"
	brutal "github.com/sagernet/sing-quic/hysteria/congestion"

	"heki/adapter"
	"heki/internal/protocol/hysteria2"
	"heki/option"
)

// rates are the server's, in bytes per second; 0 is unlimited.
type rates struct {
	up, down uint64 // to and from a client
	node     uint64 // what all users may have together
	ignore   bool   // whatever clients announce
	profile  bbr.Profile
}

func ratesOf(o *option.Hysteria2) rates {
	r := rates{
		up: uint64(option.MbpsToBytes(o.UpMbps)), down: uint64(option.MbpsToBytes(o.DownMbps)),
		ignore: o.IgnoreClientBandwidth, profile: bbr.ProfileStandard,
	}
	if o.Limits != nil {
		r.node = uint64(option.MbpsToBytes(o.Limits.NodeSpeedMbps))
	}
	return r
}

// control picks how fast the server sends on conn: at rate, or by BBR when that is 0.
func (r *rates) control(conn *quic.Conn, rate uint64) {
	if rate > 0 {
		conn.SetCongestionControl(brutalSender{brutal.NewBrutalSender(rate, conn.InitialPacketSize(), false, nil)})
		return
	}
	conn.SetCongestionControl(bbr.NewBbrSenderWithProfile(conn.InitialPacketSize(), r.profile))
}

// rate is what Brutal sends at, 0 is BBR: the rate that the client says it can receive, as far as the
// server, the node and the user allow. Limits are of payload, and QUIC adds to that.
func (r *rates) rate(announced uint64, user *adapter.User) uint64 {
	if announced == 0 || r.ignore {
		return 0
	}
	rate := announced
	if r.up > 0 {
		rate = min(rate, r.up)
	}
	for _, limit := range []uint64{r.node, uint64(max(user.SpeedBytes, 0))} {
		if limit > 0 {
			rate = min(rate, limit+limit/10)
		}
	}
	return rate
}

// answer tells the client at which rate to send.
func (r *rates) answer() string {
	if r.ignore {
		return hysteria2.RateAuto
	}
	return rateText(r.down)
}

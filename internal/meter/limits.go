package meter

import (
	"time"

	"heki/adapter"
	"heki/option"
)

// LimitsOf are the limits of a node as a whole: the operator's, and the panel's speed in bytes per
// second where that is lower.
func LimitsOf(l *option.Limits, speedBytes int64) Limits {
	return Limits{
		NodeSpeedBytes: Lower(speedBytes, option.MbpsToBytes(l.NodeSpeedMbps)),
		IPExpiry:       time.Duration(l.IPExpiry),
		CIDRv4:         l.CIDRv4,
		CIDRv6:         l.CIDRv6,
	}
}

// Limited returns accounts under the operator's limits for every user. accounts is not changed.
func Limited(accounts []adapter.Account, l *option.Limits) []adapter.Account {
	if l.UserSpeedMbps == 0 && l.UserIPs == 0 && l.UserConns == 0 {
		return accounts
	}
	speed := option.MbpsToBytes(l.UserSpeedMbps)
	out := make([]adapter.Account, len(accounts))
	for i, a := range accounts {
		a.SpeedBytes = Lower(a.SpeedBytes, speed)
		a.IPLimit = Lower(a.IPLimit, l.UserIPs)
		a.ConnLimit = Lower(a.ConnLimit, l.UserConns)
		out[i] = a
	}
	return out
}

// Lower is the smaller of two limits of which 0 is none.
func Lower[T int | int64](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

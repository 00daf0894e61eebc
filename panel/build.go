package panel

import (
	"cmp"
	"math"
	"time"

	"heki/adapter"
	"heki/constant"
	"heki/internal/meter"
	"heki/option"
)

// bytesPerMbit converts Mbit/s, in which panels and the configuration speak, to bytes per second.
const bytesPerMbit = 1e6 / 8

// build makes the inbound that serves n: the panel rules protocol, port, transport and TLS kind, the
// operator's local settings fill the rest. Nothing in the result is shared with local.
//
// The panel's ws host is not enforced: it is what clients behind a CDN send, and others send theirs.
// The limits stay out: the node's books apply them.
func build(tag string, n *Node, local option.Stream) option.Inbound {
	s := option.MergeStream(local, option.Stream{})
	s.ListenPort = n.Port
	s.Limits = nil
	s.Transport = nil
	if n.Network == constant.TransportWS {
		s.Transport = &option.Transport{Type: constant.TransportWS, Path: n.Path}
	}
	if n.TLS == TLSOff {
		s.TLS = nil
	} else {
		if s.TLS == nil {
			s.TLS = new(option.TLS)
		}
		s.TLS.Enabled = true
		s.TLS.ServerName = cmp.Or(s.TLS.ServerName, n.ServerName)
	}
	in := option.Inbound{Type: n.Protocol, Tag: tag}
	if n.Protocol == constant.TypeTrojan {
		in.Options = &option.Trojan{Stream: s}
	} else {
		in.Options = &option.VLESS{Stream: s}
	}
	return in
}

// limited returns accounts under the operator's own limits: the lower one wins that is not zero.
func limited(accounts []adapter.Account, l *option.Limits) []adapter.Account {
	speed := speedBytes(l.UserSpeedMbps)
	if speed == 0 && l.UserIPs == 0 && l.UserConns == 0 {
		return accounts
	}
	out := make([]adapter.Account, len(accounts))
	for i, a := range accounts {
		a.SpeedBytes = lower(a.SpeedBytes, speed)
		a.IPLimit = lower(a.IPLimit, l.UserIPs)
		a.ConnLimit = lower(a.ConnLimit, l.UserConns)
		out[i] = a
	}
	return out
}

// nodeLimits are those of the node as a whole.
func nodeLimits(n *Node, l *option.Limits) meter.Limits {
	return meter.Limits{
		NodeSpeedBytes: lower(n.SpeedBytes, speedBytes(l.NodeSpeedMbps)),
		IPExpiry:       time.Duration(l.IPExpiry),
		CIDRv4:         l.CIDRv4,
		CIDRv6:         l.CIDRv6,
	}
}

// lower is the smaller limit, where 0 is none.
func lower[T int | int64](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func speedBytes(mbps float64) int64 { return int64(math.Round(mbps * bytesPerMbit)) }

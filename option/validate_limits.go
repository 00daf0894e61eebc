package option

import "time"

// Defaults and bounds of limits.
const (
	defaultIPExpiry = time.Minute
	minIPExpiry     = time.Second
	maxIPExpiry     = 24 * time.Hour
	maxThresholdKB  = 1 << 30 // 1 TiB
	defaultFailures = time.Minute
	defaultBan      = 10 * time.Minute
)

// Validate fills the defaults. It is for the limits at the top of a configuration: those further in
// keep their zeros, so that MergeLimits can tell what was written.
func (l *Limits) Validate(at Path) error {
	fillDuration(&l.IPExpiry, defaultIPExpiry)
	if l.CIDRv4 == 0 {
		l.CIDRv4 = 32
	}
	if l.CIDRv6 == 0 {
		l.CIDRv6 = 128
	}
	return l.check(at)
}

// check has the bounds of what is written.
func (l *Limits) check(at Path) error {
	var r report
	r.join(mbpsIn(at.Key("user_speed_mbps"), l.UserSpeedMbps))
	r.join(mbpsIn(at.Key("node_speed_mbps"), l.NodeSpeedMbps))
	r.join(countIn(at.Key("user_ips"), l.UserIPs))
	r.join(countIn(at.Key("user_conns"), l.UserConns))
	r.join(durationIn(at.Key("ip_expiry"), l.IPExpiry, minIPExpiry, maxIPExpiry))
	if l.CIDRv4 != 0 {
		r.join(intIn(at.Key("cidr_v4"), l.CIDRv4, 8, 32))
	}
	if l.CIDRv6 != 0 {
		r.join(intIn(at.Key("cidr_v6"), l.CIDRv6, 32, 128))
	}
	r.join(l.Report.Validate(at.Key("report")))
	r.join(l.InvalidAccess.Validate(at.Key("invalid_access")))
	return r.err()
}

// Validate fills the defaults, where it is on, and checks the bounds.
func (i *InvalidAccess) Validate(at Path) error {
	var r report
	r.join(intIn(at.Key("count"), i.Count, -1, maxCount))
	if i.Count > 0 {
		fillDuration(&i.Window, defaultFailures)
		fillDuration(&i.Ban, defaultBan)
	} else if i.Window != 0 || i.Ban != 0 {
		r.add(at.Key("count"), "is required beside window and ban: how many failures are one too many")
	}
	r.join(durationIn(at.Key("window"), i.Window, time.Second, time.Hour))
	r.join(durationIn(at.Key("ban"), i.Ban, time.Second, 24*time.Hour))
	return r.err()
}

// Validate checks the bounds; 0 reports everything.
func (p *Report) Validate(at Path) error {
	var r report
	r.join(thresholdIn(at.Key("min_traffic_kb"), p.MinTrafficKB))
	r.join(thresholdIn(at.Key("min_online_kb"), p.MinOnlineKB))
	return r.err()
}

func thresholdIn(at Path, kb int64) error {
	if kb < 0 || kb > maxThresholdKB {
		return at.Errorf("is %d, must be 0 to %d", kb, maxThresholdKB)
	}
	return nil
}

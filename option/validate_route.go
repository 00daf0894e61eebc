package option

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"heki/constant"
)

// Validate checks type and options. Tags are given by Options.Validate, which knows the others.
func (o *Outbound) Validate(at Path) error {
	if o.Options == nil || newOutbound(o.Type) == nil {
		return at.Key("type").Errorf("%w", outboundKind.missingOr(o.Type))
	}
	return o.Options.Validate(at)
}

func (o *Options) validateOutbounds(at Path) error {
	var r report
	for i := range o.Outbounds {
		r.join(o.Outbounds[i].Validate(at.Index(i)))
	}
	r.join(nameTags(at, len(o.Outbounds), func(i int) (string, *string) {
		return o.Outbounds[i].Type, &o.Outbounds[i].Tag
	}))
	r.join(o.validateGroups(at))
	return r.err()
}

// validateTargets checks every outbound tag that the route names. The tags direct and block exist
// even when no outbound has them.
func (o *Options) validateTargets(at Path) error {
	tags := []string{constant.TypeDirect, constant.TypeBlock}
	for _, out := range o.Outbounds {
		if out.Tag != "" && !slices.Contains(tags, out.Tag) {
			tags = append(tags, out.Tag)
		}
	}
	var r report
	if o.Route.Final != "" {
		r.join(knownTag(at.Key("final"), o.Route.Final, "outbound", tags))
	}
	for i, rule := range o.Route.Rules {
		if rule.Outbound != "" {
			r.join(knownTag(at.Key("rules").Index(i).Key("outbound"), rule.Outbound, "outbound", tags))
		}
	}
	return r.err()
}

func knownTag(at Path, tag, what string, tags []string) error {
	if oneOf(at, tag, tags...) == nil {
		return nil
	}
	if near := nearest(tag, tags); near != "" {
		return at.Errorf("no %s has the tag %q, did you mean %q?", what, short(tag), near)
	}
	return at.Errorf("no %s has the tag %q; there are %s", what, short(tag), strings.Join(tags, ", "))
}

// Validate checks all but the rule lines, which route/rule compiles, and the tags.
func (o *Route) Validate(at Path) error {
	var r report
	for i, name := range o.Sniff {
		r.join(oneOf(at.Key("sniff").item(i, len(o.Sniff)), name, constant.ProtocolTLS, constant.ProtocolHTTP, constant.ProtocolQUIC))
	}
	r.join(checkPorts(at.Key("forbid_ports"), o.ForbidPorts))
	r.join(checkLines(at.Key("whitelist"), o.Whitelist))
	r.join(checkLines(at.Key("audit"), o.Audit))
	for i := range o.Rules {
		r.join(o.Rules[i].Validate(at.Key("rules").Index(i)))
	}
	return r.err()
}

// Validate requires lines and an outbound.
func (t *RouteTo) Validate(at Path) error {
	var r report
	if len(t.Match) == 0 {
		r.add(at.Key("match"), `is required, at least one rule line such as "domain:example.org" or "*"`)
	}
	r.join(checkLines(at.Key("match"), t.Match))
	if t.Outbound == "" {
		r.add(at.Key("outbound"), `is required, the tag of an outbound such as "direct" or "block"`)
	}
	return r.err()
}

// checkLines refuses empty lines: an empty keyword would match everything.
func checkLines(at Path, lines []string) error {
	var r report
	for i, line := range lines {
		if strings.TrimSpace(line) == "" {
			r.add(at.item(i, len(lines)), `is empty, must be a rule line such as "domain:example.org"; "*" matches everything`)
		}
	}
	return r.err()
}

// checkPorts takes "25,465,1000-2000", spaces allowed.
func checkPorts(at Path, text string) error {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			to = from
		}
		low, err1 := strconv.ParseUint(strings.TrimSpace(from), 10, 16)
		high, err2 := strconv.ParseUint(strings.TrimSpace(to), 10, 16)
		if err1 != nil || err2 != nil || low == 0 {
			return at.Errorf(`holds %q, must be ports and ranges from 1 to 65535 such as "25,465,1000-2000"`, short(part))
		}
		if low > high {
			return at.Errorf("holds %q, a range goes from the lower to the higher port", short(part))
		}
	}
	return nil
}

// Defaults and bounds of the DNS cache.
const (
	defaultCacheTTL  = 10 * time.Minute
	minCacheTTL      = time.Second
	maxCacheTTL      = 24 * time.Hour
	defaultCacheSize = 4096
	maxCacheSize     = 1 << 20
)

// Validate fills defaults and checks the servers. sing-box's names of strategies are taken too.
func (d *DNS) Validate(at Path) error {
	var r report
	first := make(map[string]int, len(d.Servers))
	for i := range d.Servers {
		in := at.Key("servers").Index(i)
		s := &d.Servers[i]
		r.join(s.Validate(in))
		if j, taken := first[s.Tag]; taken && s.Tag != "" {
			r.add(in.Key("tag"), "%q is also the tag of %s; tags must be unique", short(s.Tag), at.Key("servers").Index(j))
			continue
		}
		first[s.Tag] = i
	}
	for i := range d.Servers {
		if s := &d.Servers[i]; s.Tag == "" && s.Address != "" {
			s.Tag = uniqueName(s.Address, func(name string) bool { _, taken := first[name]; return taken })
			first[s.Tag] = i
		}
	}
	r.join(d.checkFinal(at.Key("final")))
	switch d.Strategy {
	case "", "prefer_ipv4":
		d.Strategy = "ipv4_first"
	case "prefer_ipv6":
		d.Strategy = "ipv6_first"
	}
	r.join(oneOf(at.Key("strategy"), d.Strategy, "ipv4_first", "ipv4_only", "ipv6_first", "ipv6_only"))
	r.join(d.Cache.Validate(at.Key("cache")))
	return r.err()
}

func (d *DNS) checkFinal(at Path) error {
	var tags []string
	for _, s := range d.Servers {
		if s.Tag != "" && !slices.Contains(tags, s.Tag) {
			tags = append(tags, s.Tag)
		}
	}
	var r report
	seen := make(map[string]bool, len(d.Final))
	for i, tag := range d.Final {
		in := at.item(i, len(d.Final))
		switch {
		case seen[tag]:
			r.add(in, "%q stands here twice; a server is tried once", short(tag))
		case len(tags) == 0:
			r.add(in, "no server has the tag %q: dns.servers is empty", short(tag))
		default:
			r.join(knownTag(in, tag, "server", tags))
		}
		seen[tag] = true
	}
	return r.err()
}

// Validate fills defaults and checks the bounds.
func (c *DNSCache) Validate(at Path) error {
	fillDuration(&c.TTL, defaultCacheTTL)
	if c.Size == 0 {
		c.Size = defaultCacheSize
	}
	var r report
	r.join(durationIn(at.Key("ttl"), c.TTL, minCacheTTL, maxCacheTTL))
	r.join(intIn(at.Key("size"), c.Size, 1, maxCacheSize))
	return r.err()
}

// Validate checks the address; the tag is given by DNS.Validate, which knows the others.
func (s *DNSServer) Validate(at Path) error {
	var r report
	r.join(printable(at.Key("tag"), s.Tag))
	r.join(wrap(at.Key("address"), checkServer(s.Address)))
	return r.err()
}

// checkServer takes system, 8.8.8.8, 8.8.8.8:553, [2001:db8::1]:53, dns.google, udp://… and tcp://….
func checkServer(address string) error {
	const want = `must be "system", or an IP address or host with an optional port, after udp:// or tcp:// or nothing`
	switch address {
	case "":
		return fmt.Errorf("is required; %s", want)
	case "system":
		return nil
	}
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		scheme, rest = "udp", address
	}
	switch scheme {
	case "udp", "tcp":
	case "tls", "https", "quic", "h3", "https3", "dhcp":
		return fmt.Errorf("is %q, %s:// is not served by this version; %s", short(address), scheme, want)
	default:
		return fmt.Errorf("is %q, %s", short(address), want)
	}
	bare := rest
	if inner, ok := strings.CutPrefix(rest, "["); ok && strings.HasSuffix(inner, "]") {
		bare = strings.TrimSuffix(inner, "]")
	}
	if _, err := netip.ParseAddr(bare); err == nil || validHost(rest) {
		return nil
	}
	host, port, ok := cutPort(rest)
	n, err := strconv.ParseUint(port, 10, 16)
	if _, errIP := netip.ParseAddr(host); !ok || errIP != nil && !validHost(host) {
		return fmt.Errorf("is %q, %s", short(address), want)
	}
	if err != nil || n == 0 {
		return fmt.Errorf("is %q, the port must be 1 to 65535", short(address))
	}
	return nil
}

// cutPort splits host:port, the host without its brackets.
func cutPort(text string) (host, port string, ok bool) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return "", "", false
	}
	host, port = text[:i], text[i+1:]
	inner, bracketed := strings.CutPrefix(host, "[")
	if !bracketed {
		return host, port, !strings.Contains(host, ":")
	}
	host, ok = strings.CutSuffix(inner, "]")
	return host, port, ok
}

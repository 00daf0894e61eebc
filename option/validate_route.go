package option

import (
	"slices"
	"strconv"
	"strings"

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
	r.join(o.Geo.Validate(at.Key("geo")))
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

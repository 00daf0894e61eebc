package rule

import (
	"errors"
	"slices"
	"strings"

	"heki/adapter"
	"heki/constant"
	"heki/option"
)

// Need says what a decision looks at.
type Need struct {
	Domain   bool // sniff when the destination is an address
	Protocol bool // sniff
	IP       bool // resolve when the destination is a domain
}

func (n *Need) add(s *Set) {
	n.Domain = n.Domain || s.NeedsDomain()
	n.Protocol = n.Protocol || s.NeedsProtocol()
	n.IP = n.IP || s.NeedsIP()
}

// Table is the compiled "route" section. It never changes but for the panel rules, which are replaced
// a tag at a time; it is safe for concurrent use.
type Table struct {
	whitelist        *Set
	audit            *Set
	forbidBitTorrent bool
	forbidPrivate    bool
	forbidPorts      portTable
	ports            string // forbidPorts as written
	panels           *panels
	routes           []route
	final            string
	need             Need
	sniff            bool // always
}

type route struct {
	match    *Set
	outbound string
}

// NewTable compiles o with the lists of geo, which may be nil. Every mistake is reported, each a
// *option.Mistake with its place below "route".
func NewTable(o option.Route, geo Geo) (*Table, error) {
	at := option.Path("route")
	t := &Table{
		forbidBitTorrent: o.ForbidBitTorrent,
		forbidPrivate:    o.ForbidPrivateIP,
		ports:            o.ForbidPorts,
		panels:           new(panels),
		final:            o.Final,
		sniff:            len(o.Sniff) > 0,
	}
	var errs, all []error
	t.whitelist, errs = compileAt(at.Key("whitelist"), o.Whitelist, geo)
	all = append(all, errs...)
	t.audit, errs = compileAt(at.Key("audit"), o.Audit, geo)
	all = append(all, errs...)
	if ports := strings.TrimSpace(o.ForbidPorts); ports != "" {
		list, err := parsePorts(ports, 0)
		if err != nil {
			all = append(all, at.Key("forbid_ports").Errorf("%w", err))
		}
		t.forbidPorts = newPortTable(list)
	}
	for i, to := range o.Rules {
		at := at.Key("rules").Index(i)
		r := route{outbound: to.Outbound}
		r.match, errs = compileAt(at.Key("match"), to.Match, geo)
		if len(errs) == 0 && len(to.Match) > 0 && r.match.Empty() {
			errs = append(errs, at.Key("match").Errorf(`holds only comments and matches nothing; write ["*"] to match everything`))
		}
		all = append(all, errs...)
		t.routes = append(t.routes, r)
		t.need.add(r.match)
	}
	t.need.add(t.whitelist)
	t.need.add(t.audit)
	t.need.Protocol = t.need.Protocol || t.forbidBitTorrent
	t.need.IP = t.need.IP || t.forbidPrivate
	if len(all) > 0 {
		return nil, errors.Join(all...)
	}
	return t, nil
}

// compileAt compiles lines and gives each mistake its place.
func compileAt(at option.Path, lines []string, geo Geo) (*Set, []error) {
	set, err := Compile(lines, geo)
	var bad Errors
	if !errors.As(err, &bad) {
		return set, nil
	}
	errs := make([]error, len(bad))
	for i, line := range bad {
		errs[i] = at.Index(line.Index).Errorf("%q %w", clip(line.Line), line.Text)
	}
	return set, errs
}

// SetPanel replaces the panel rules of the inbound called tag at once, and what takes the place of final for
// it; nil leaves that to the table. Neither removes what was set.
func (t *Table) SetPanel(tag string, rules []PanelRule, final *PanelRule) {
	t.panels.set(tag, rules, final)
}

// Adopt makes t share the panel rules of old, those set later included. Call it before t is used.
func (t *Table) Adopt(old *Table) { t.panels = old.panels }

// Outbounds returns the tags that decisions can name, for a check that they exist.
func (t *Table) Outbounds() []string {
	var tags []string
	for _, r := range t.routes {
		tags = append(tags, r.outbound)
	}
	if t.final != "" {
		tags = append(tags, t.final)
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

// Need says what decisions for md's inbound look at.
func (t *Table) Need(md *adapter.Metadata) Need {
	need := t.need
	if p := t.panels.get(md.Inbound); p != nil {
		need.Domain = need.Domain || p.need.Domain
		need.Protocol = need.Protocol || p.need.Protocol
		need.IP = need.IP || p.need.IP
	}
	return need
}

// NeedsSniff says whether the first bytes may change the decision: when a rule asks for the protocol,
// when one asks for the domain and the client gave an address, or when route.sniff is written.
func (t *Table) NeedsSniff(md *adapter.Metadata) bool {
	need := t.Need(md)
	return t.sniff || need.Protocol || need.Domain && md.Domain == "" && md.Destination.Fqdn == ""
}

// NeedsAddresses says whether md's domain must be resolved before Decide.
func (t *Table) NeedsAddresses(md *adapter.Metadata) bool {
	if len(md.Addresses) > 0 || md.Destination.Fqdn == "" || !t.Need(md).IP {
		return false
	}
	_, isAddr := literal(md.Destination.Fqdn)
	return !isAddr
}

// Decide says what becomes of md: whitelist, audit, forbid_*, panel rules, rules, final. What the
// whitelist holds is not blocked by what follows, but still routed by it.
func (t *Table) Decide(md *adapter.Metadata) Decision {
	var sub subject
	sub.fill(md)
	listed := t.whitelisted(&sub)
	if listed != listedFully {
		if d, blocked := t.blocked(&sub, listed); blocked {
			return d
		}
	}
	if d, ok := t.panelRule(&sub, listed != notListed, false); ok {
		return d
	}
	for i := range t.routes {
		r := &t.routes[i]
		if line := r.match.find(&sub, false); line != none {
			return Decision{Action: ActionRoute, Outbound: r.outbound, By: ByRules, Index: i, set: r.match, line: line}
		}
	}
	if p := t.panels.get(md.Inbound); p != nil && p.final != nil {
		return p.final.decision(len(p.list), none)
	}
	switch {
	case t.final != "":
		return Decision{Action: ActionRoute, Outbound: t.final, By: ByFinal, line: none}
	case len(t.routes) == 0:
		return Decision{Action: ActionDirect, By: ByNothing, line: none}
	}
	return Decision{Action: ActionBlock, By: ByNothing, line: none}
}

// Blocked is Decide without routing: for each new destination of a packet session, whose outbound is
// already chosen.
func (t *Table) Blocked(md *adapter.Metadata) (Decision, bool) {
	var sub subject
	sub.fill(md)
	listed := t.whitelisted(&sub)
	if listed != listedFully {
		if d, blocked := t.blocked(&sub, listed); blocked {
			return d, true
		}
	}
	return t.panelRule(&sub, listed != notListed, true)
}

type listing uint8

const (
	notListed listing = iota
	listedBySniff
	listedFully
)

// whitelisted also tells a match that rests on the sniffed domain alone. A client writes that domain
// as it likes, so it must not open the node's own network.
func (t *Table) whitelisted(sub *subject) listing {
	if t.whitelist.Empty() || t.whitelist.find(sub, true) == none {
		return notListed
	}
	if !t.forbidPrivate || sub.md.Domain == "" || !t.whitelist.NeedsDomain() {
		return listedFully
	}
	md := *sub.md
	md.Domain = ""
	var declared subject
	declared.fill(&md)
	if t.whitelist.find(&declared, true) == none {
		return listedBySniff
	}
	return listedFully
}

func (t *Table) blocked(sub *subject, listed listing) (Decision, bool) {
	if t.forbidPrivate && listed == listedBySniff {
		return Decision{By: ByForbid, forbid: forbidPrivateIP, line: none}, sub.private()
	}
	if !t.audit.Empty() {
		if line := t.audit.find(sub, false); line != none {
			return Decision{By: ByAudit, Index: int(line), set: t.audit, line: line}, true
		}
	}
	forbid := ""
	switch {
	case t.forbidBitTorrent && sub.md.Protocol == constant.ProtocolBitTorrent:
		forbid = forbidBitTorrent
	case !t.forbidPorts.empty() && t.forbidPorts.find(sub.md.Destination.Port) != none:
		forbid = forbidPorts
	case t.forbidPrivate && sub.private():
		forbid = forbidPrivateIP
	default:
		return Decision{}, false
	}
	return Decision{By: ByForbid, forbid: forbid, line: none}, true
}

// panelRule finds the first panel rule for the inbound: without those that spare the whitelist's
// destinations, or only when it is a blocking one.
func (t *Table) panelRule(sub *subject, listed, onlyBlocks bool) (Decision, bool) {
	p := t.panels.get(sub.md.Inbound)
	if p == nil {
		return Decision{}, false
	}
	for i := range p.list {
		r := &p.list[i]
		if listed && r.spared() {
			continue
		}
		line, ok := r.find(sub)
		if !ok {
			continue
		}
		if onlyBlocks && r.Action != ActionBlock {
			return Decision{}, false
		}
		return r.decision(i, line), true
	}
	return Decision{}, false
}

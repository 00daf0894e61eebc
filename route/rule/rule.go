// Package rule compiles the one rule grammar of heki and decides with it what becomes of a connection.
//
// One line is one condition, and a [Set] of lines matches when any of them does:
//
//	keyword                      substring of the domain
//	regexp:EXPR                  RE2 expression found in the domain
//	domain:example.org           the domain and its subdomains
//	full:www.example.org         the domain alone
//	geosite:netflix              a list of domains; geosite:google@ads those of it with an attribute
//	ip:1.2.3.4  ip:10.0.0.0/8    destination address
//	geoip:cn  geoip:!cn          destination in a country, not in it; geoip:private needs no file
//	port:80,443,1000-2000        destination port
//	protocol:tls,bittorrent      sniffed protocol: tls, http, quic, bittorrent, dns
//	network:tcp                  tcp or udp
//	user:7  user:alice           id or name
//	node:PANEL:7  node_id:1,2    node of one panel, nodes of any panel
//	inbound:TAG                  inbound
//	*                            everything
//
// Blank lines and lines that start with # say nothing. Domains compare without case and without a
// trailing dot. Source: design/config.md, "Routing".
package rule

import (
	"math"
	"strings"

	"heki/adapter"
)

// none is the line number of "no line"; it is larger than every line, so min works on both.
const none = math.MaxInt32

// Set is a compiled list of rule lines, split by what they look at. It never changes, but for the
// content of the geo lists it names, and is safe for concurrent use. Matching takes no lock and
// allocates nothing, except for a string or two when it asks a geosite list of more than 512 names.
type Set struct {
	lines     []string
	any       int32 // first "*"
	names     nameTable
	keywords  keywordTable
	exprs     exprTable
	sites     []siteLine // in the order of their lines
	addrs     addrTable
	areas     []areaLine // in the order of their lines
	ports     portTable
	protocols map[string]int32
	networks  map[string]int32
	inbounds  map[string]int32 // inbound: and node:
	nodeIDs   map[int64]int32
	userIDs   map[int64]int32
	userNames map[string]int32
}

// Compile compiles lines. The error is an [Errors] with every bad line; the set then holds the good
// ones, for callers who would rather have some rules than none. lines is not kept, its strings are.
// Without geo, which may be nil, lines that need its files are bad.
func Compile(lines []string, geo Geo) (*Set, error) {
	b := newBuilder(lines, geo)
	var bad Errors
	for i, line := range b.set.lines {
		if err := b.add(int32(i), line); err != nil {
			bad = append(bad, &LineError{Index: i, Line: line, Text: err})
		}
	}
	set := b.build()
	if len(bad) > 0 {
		return set, bad
	}
	return set, nil
}

// Match says whether any line matches md.
func (s *Set) Match(md *adapter.Metadata) bool {
	if s.Empty() {
		return false
	}
	var sub subject
	sub.fill(md)
	return s.find(&sub, true) != none
}

// MatchRule returns the index of the first line, in the order of Compile's lines, that matches md.
func (s *Set) MatchRule(md *adapter.Metadata) (index int, ok bool) {
	if s.Empty() {
		return 0, false
	}
	var sub subject
	sub.fill(md)
	line := s.find(&sub, false)
	if line == none {
		return 0, false
	}
	return int(line), true
}

// Line returns line i as it was written, without surrounding space.
func (s *Set) Line(i int) string { return s.lines[i] }

// Empty says that no line can match.
func (s *Set) Empty() bool {
	return s == nil || s.any == none && len(s.protocols)+len(s.networks)+len(s.inbounds)+len(s.nodeIDs)+
		len(s.userIDs)+len(s.userNames) == 0 && !s.NeedsDomain() && !s.NeedsIP() && s.ports.empty()
}

// NeedsDomain says that a line looks at the domain: sniff when the destination is an address.
func (s *Set) NeedsDomain() bool {
	return s != nil && (!s.names.empty() || !s.keywords.empty() || !s.exprs.empty() || len(s.sites) > 0)
}

// NeedsProtocol says that a line looks at the sniffed protocol.
func (s *Set) NeedsProtocol() bool { return s != nil && len(s.protocols) > 0 }

// NeedsIP says that a line looks at the destination address: resolve when it is a domain.
func (s *Set) NeedsIP() bool { return s != nil && (!s.addrs.empty() || len(s.areas) > 0) }

// find returns the first matching line, or with first set any matching line, cheap classes first.
func (s *Set) find(sub *subject, first bool) int32 {
	best := min(s.any, s.findMeta(sub))
	if best != none && first {
		return best
	}
	if s.NeedsIP() {
		best = min(best, s.findAddr(sub), s.findArea(sub))
		if best != none && first {
			return best
		}
	}
	if !s.NeedsDomain() {
		return best
	}
	for i := range sub.count {
		best = min(best, s.findName(sub, i, first))
		if best != none && first {
			return best
		}
	}
	return best
}

// findMeta looks at what is one lookup away.
func (s *Set) findMeta(sub *subject) int32 {
	md, best := sub.md, int32(none)
	if !s.ports.empty() {
		best = min(best, s.ports.find(md.Destination.Port))
	}
	best = min(best, lookup(s.protocols, md.Protocol))
	best = min(best, lookup(s.networks, md.Network))
	best = min(best, lookup(s.inbounds, md.Inbound))
	if len(s.nodeIDs) > 0 {
		if id, ok := nodeID(md.Inbound); ok {
			best = min(best, lookup(s.nodeIDs, id))
		}
	}
	if md.User != nil {
		best = min(best, lookup(s.userIDs, md.User.ID))
		best = min(best, lookup(s.userNames, md.User.Name))
	}
	return best
}

func (s *Set) findAddr(sub *subject) int32 {
	best := int32(none)
	if s.addrs.empty() {
		return best
	}
	if sub.addr.IsValid() {
		best = s.addrs.find(sub.addr)
	}
	for _, addr := range sub.md.Addresses {
		best = min(best, s.addrs.find(plainAddr(addr)))
	}
	return best
}

func (s *Set) findName(sub *subject, i int, first bool) int32 {
	name := sub.name(i)
	best := int32(none)
	if !s.names.empty() {
		best = s.names.find(name)
		if best != none && first {
			return best
		}
	}
	if !s.keywords.empty() {
		best = min(best, s.keywords.find(name))
		if best != none && first {
			return best
		}
	}
	if !s.exprs.empty() {
		best = min(best, s.exprs.find(sub, i, best))
		if best != none && first {
			return best
		}
	}
	if len(s.sites) > 0 {
		best = min(best, s.findSite(sub, i, best))
	}
	return best
}

// lookup returns m[key] or none.
func lookup[K comparable](m map[K]int32, key K) int32 {
	if len(m) == 0 {
		return none
	}
	if line, ok := m[key]; ok {
		return line
	}
	return none
}

// NodeTag is the inbound tag of node id of the panel called name.
func NodeTag(name, id string) string { return nodePrefix + name + "/" + id }

const nodePrefix = "panel/"

// nodeID returns the node id in an inbound tag made by NodeTag.
func nodeID(tag string) (int64, bool) {
	if !strings.HasPrefix(tag, nodePrefix) {
		return 0, false
	}
	slash := strings.LastIndexByte(tag, '/')
	digits := tag[slash+1:]
	if slash < len(nodePrefix) || digits == "" || digits[0] == '0' || len(digits) > 18 { // 10^18 fits an int64
		return 0, false
	}
	var id int64
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		id = id*10 + int64(digits[i]-'0')
	}
	return id, true
}

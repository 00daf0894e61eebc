package rule

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"heki/constant"
)

// maxLine bounds a line in bytes; the longest expressions in the field's lists have 2 KiB.
const maxLine = 8 << 10

// kinds are the words before the colon.
var kinds = []string{
	"regexp", "domain", "full", "geosite", "ip", "geoip", "port", "protocol", "network", "user", "node", "node_id", "inbound",
}

var protocols = []string{
	constant.ProtocolTLS, constant.ProtocolHTTP, constant.ProtocolQUIC, constant.ProtocolBitTorrent, constant.ProtocolDNS,
}

var networks = []string{constant.NetworkTCP, constant.NetworkUDP}

// builder gathers lines by class.
type builder struct {
	set      *Set
	geo      Geo
	keywords map[string]int32
	exprs    []expr
	addrs    []addrLine
	ports    []portLine
}

func newBuilder(lines []string, geo Geo) *builder {
	b := &builder{
		geo:      geo,
		set:      &Set{any: none, lines: make([]string, len(lines))},
		keywords: make(map[string]int32),
	}
	for i, line := range lines {
		b.set.lines[i] = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
	}
	return b
}

func (b *builder) build() *Set {
	b.set.keywords = newKeywordTable(b.keywords)
	b.set.exprs = newExprTable(b.exprs)
	b.set.addrs = newAddrTable(b.addrs)
	b.set.ports = newPortTable(b.ports)
	return b.set
}

// add compiles one trimmed line; its error says what is wrong with it and what would be right.
func (b *builder) add(i int32, line string) error {
	switch {
	case line == "" || line[0] == '#':
		return nil
	case line == "*":
		b.set.any = min(b.set.any, i)
		return nil
	case len(line) > maxLine:
		return fmt.Errorf("has %d bytes, must be at most %d", len(line), maxLine)
	}
	if kind, value, ok := strings.Cut(line, ":"); ok {
		if _, isIP := parsePrefix(line); isIP { // an IPv6 address
			return fmt.Errorf("is an address; did you mean ip:%s?", line)
		}
		return b.addKind(i, kind, strings.TrimSpace(value))
	}
	word, err := parseKeyword(line)
	if err == nil {
		addFirst(&b.keywords, word, i)
	}
	return err
}

func (b *builder) addKind(i int32, kind, value string) error {
	if value == "" && slices.Contains(kinds, kind) {
		return fmt.Errorf("has nothing after %s:; remove the line, or write * for everything", kind)
	}
	switch kind {
	case "regexp":
		return b.addExpr(i, value)
	case "domain", "full":
		name, err := parseName(value)
		if err == nil {
			b.set.names.add(name, kind == "domain", i)
		}
		return err
	case "ip":
		return b.addAddr(i, value)
	case "port":
		list, err := parsePorts(value, i)
		b.ports = append(b.ports, list...)
		return err
	case "protocol":
		return addWords(&b.set.protocols, value, protocols, "protocol", i)
	case "network":
		return addWords(&b.set.networks, value, networks, "network", i)
	case "user":
		addFirst(&b.set.userNames, value, i)
		if id, err := strconv.ParseInt(value, 10, 64); err == nil && id != 0 { // 0: a user without an id
			addFirst(&b.set.userIDs, id, i)
		}
		return nil
	case "node":
		return b.addNode(i, value)
	case "node_id":
		return b.addNodeIDs(i, value)
	case "inbound":
		addFirst(&b.set.inbounds, value, i)
		return nil
	case "geosite":
		return b.addSite(i, value)
	case "geoip":
		return b.addArea(i, value)
	}
	return unknownKind(kind, value)
}

func (b *builder) addExpr(i int32, value string) error {
	re, err := parseExpr(value)
	if err != nil {
		return exprError(value, err)
	}
	b.exprs = append(b.exprs, expr{re, i})
	return nil
}

func (b *builder) addAddr(i int32, value string) error {
	prefix, ok := parsePrefix(value)
	if ok {
		b.addrs = append(b.addrs, addrLine{prefix, i})
		return nil
	}
	if strings.Contains(value, ",") {
		return errors.New("has several addresses; write one ip: line for each")
	}
	if addr, err := netip.ParseAddrPort(value); err == nil {
		return fmt.Errorf("has a port; did you mean ip:%s? port: is a rule of its own", addr.Addr())
	}
	if name, err := parseName(value); err == nil {
		return fmt.Errorf("is not an address; did you mean domain:%s?", name)
	}
	return errors.New("is not an address; write ip:1.2.3.4, ip:10.0.0.0/8 or ip:2001:db8::/32")
}

func (b *builder) addNode(i int32, value string) error {
	at := strings.LastIndexByte(value, ':') // a panel's name may have colons, an id has none
	if at <= 0 || !isID(value[at+1:]) {
		return errors.New("must name a panel and a node: node:main:7; or node_id:7 for every panel")
	}
	addFirst(&b.set.inbounds, NodeTag(value[:at], value[at+1:]), i)
	return nil
}

func (b *builder) addNodeIDs(i int32, value string) error {
	var ids []int64
	for part := range strings.SplitSeq(value, ",") {
		part = strings.TrimSpace(part)
		if !isID(part) {
			return fmt.Errorf("has %q, which is not a node id; write node_id:1,2", part)
		}
		id, _ := strconv.ParseInt(part, 10, 64)
		ids = append(ids, id)
	}
	for _, id := range ids {
		addFirst(&b.set.nodeIDs, id, i)
	}
	return nil
}

func isID(s string) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	return err == nil && n > 0 && s[0] != '+' && s[0] != '0' && len(s) <= 18
}

func addWords(m *map[string]int32, value string, known []string, what string, i int32) error {
	var words []string
	for word := range strings.SplitSeq(value, ",") {
		word = strings.ToLower(strings.TrimSpace(word))
		if !slices.Contains(known, word) {
			return fmt.Errorf("has the unknown %s %q, must be one of %s", what, word, strings.Join(known, ", "))
		}
		words = append(words, word)
	}
	for _, word := range words {
		addFirst(m, word, i)
	}
	return nil
}

// addFirst keeps the first line of a key.
func addFirst[K comparable](m *map[K]int32, key K, line int32) {
	if *m == nil {
		*m = make(map[K]int32)
	}
	if _, ok := (*m)[key]; !ok {
		(*m)[key] = line
	}
}

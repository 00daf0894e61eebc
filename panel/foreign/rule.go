package foreign

import (
	"regexp"
	"slices"
	"strings"
)

// Rule is one routing rule in heki's lines: it holds for what matches any of Lines and any of each list of And.
type Rule struct {
	Lines    []string
	And      [][]string
	Outbound string // tag; empty: blocks
}

// ReadRule reads one routing rule: of Xray when it has an "outboundTag" or is of the type field, else of
// sing-box. text is an object of JSON.
func ReadRule(text string) (Rule, error) {
	o, err := parse(text)
	if err != nil {
		return Rule{}, err
	}
	var r Rule
	if o.has("outboundTag") || o.has("balancerTag") || strings.EqualFold(peek(o, "type"), "field") {
		r.xray(o)
	} else {
		r.singBox(o)
	}
	if r.Lines == nil {
		o.fail("a condition", "is required")
	}
	return r, o.doc.finish()
}

// peek is a text that stays where it is.
func peek(o *object, name string) string {
	text, _ := o.members[name].(string)
	return text
}

// and adds a condition; none of no line.
func (r *Rule) and(lines []string) {
	switch {
	case len(lines) == 0:
	case r.Lines == nil:
		r.Lines = lines
	default:
		r.And = append(r.And, lines)
	}
}

// each puts prefix before every text that has none of the kinds.
func each(prefix string, texts []string, kinds ...string) []string {
	lines := make([]string, 0, len(texts))
	for _, text := range texts {
		kind, _, ok := strings.Cut(text, ":")
		if !ok || !slices.Contains(kinds, kind) {
			text = prefix + text
		}
		lines = append(lines, text)
	}
	return lines
}

// xray reads a rule of the type field: all its conditions hold together.
// Source: Xray 26.3, infra/conf/router.go.
func (r *Rule) xray(o *object) {
	o.ignore("type", "ruleTag")
	r.Outbound = o.text("outboundTag")
	if r.Outbound == "" {
		o.fail("outboundTag", "is required")
	}
	var names []string
	for _, name := range append(o.texts("domain"), o.texts("domains")...) {
		names = append(names, Domain(name))
	}
	r.and(names)
	r.and(each("ip:", o.texts("ip"), "geoip"))
	r.conditions(o, each("port:", o.texts("port")))
}

// Domain is the line of one of Xray's domains.
func Domain(name string) string {
	return strings.TrimPrefix(name, "keyword:") // a line without a kind is one
}

// conditions reads what both programs call the same.
func (r *Rule) conditions(o *object, ports []string) {
	r.and(ports)
	networks := o.texts("network")
	for i := range networks {
		networks[i] = strings.ToLower(networks[i])
	}
	if slices.Contains(networks, "tcp") && slices.Contains(networks, "udp") {
		if r.Lines == nil { // the usual way to say everything
			r.Lines = []string{"*"}
		}
		networks = nil
	}
	r.and(each("network:", networks))
	r.and(each("protocol:", o.texts("protocol")))
}

// singBox reads a default rule: what it says of the destination are alternatives, the rest holds together.
// Source: sing-box 1.14, route rules.
func (r *Rule) singBox(o *object) {
	if kind := o.text("type"); kind != "" && kind != "default" {
		o.fail("type", "is %.16q, must be default", kind)
		o.drop()
	}
	r.Outbound = o.text("outbound")
	switch action := o.text("action"); {
	case action == "reject" && r.Outbound == "":
		o.ignore("method", "no_drop")
	case action != "" && action != "route":
		o.fail("action", "is %.16q, must be route or reject", action)
	case r.Outbound == "":
		o.fail("outbound", "is required")
	}
	lines := each("full:", o.texts("domain"))
	for _, suffix := range o.texts("domain_suffix") {
		if strings.HasPrefix(suffix, ".") { // what is below it, and not itself
			lines = append(lines, "regexp:"+regexp.QuoteMeta(suffix)+"$")
		} else {
			lines = append(lines, "domain:"+suffix)
		}
	}
	lines = append(lines, o.texts("domain_keyword")...)
	lines = append(lines, each("regexp:", o.expressions("domain_regex"))...)
	lines = append(lines, each("geosite:", o.texts("geosite"))...)
	lines = append(lines, each("ip:", o.texts("ip_cidr"))...)
	lines = append(lines, each("geoip:", o.texts("geoip"))...)
	if o.is("ip_is_private") {
		lines = append(lines, "geoip:private")
	}
	r.and(lines)
	ports := each("port:", o.texts("port"))
	for _, span := range o.texts("port_range") {
		from, to, ok := strings.Cut(span, ":")
		if !ok {
			o.fail("port_range", `is %.16q, must be such as "1000:2000"`, span)
			continue
		}
		if from == "" {
			from = "1"
		}
		if to == "" {
			to = "65535"
		}
		ports = append(ports, "port:"+from+"-"+to)
	}
	r.conditions(o, ports)
}

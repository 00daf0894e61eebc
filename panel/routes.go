package panel

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"heki/constant"
	"heki/option"
	"heki/panel/foreign"
)

// Route is one entry of a panel's routing list.
type Route struct {
	ID     int64    `json:"id,omitempty"`
	Match  []string `json:"match"`
	Action string   `json:"action"`
	Value  string   `json:"action_value,omitempty"`
}

// Routing is what a panel says about where a node's connections go.
type Routing struct {
	Rules     []Rule            // in the panel's order; the first that matches decides
	Default   *Rule             // without lines, in place of route.final; nil: the configuration's
	Outbounds []option.Outbound // the node's own, validated; a tag in a rule means one of these first
	DNS       []DNSRule
}

// Rule says what becomes of what matches any of Lines and any of each list of And.
type Rule struct {
	ID       int64 // the panel's, for hits; 0 is a rule whose hits it does not take
	Lines    []string
	And      [][]string
	Outbound string // tag; empty: blocks
	Broken   string // why the panel's way cannot be gone: what matches is closed, and leaves by no other
}

// DNSRule says which servers resolve the names that match any of Lines; without lines, all names.
type DNSRule struct {
	ID      int64
	Lines   []string
	Servers []string // as in dns.servers[].address
}

// Actions of routes. block has rule lines of any kind; the matches of block_ip, block_port, protocol and
// route_ip are of one kind and are written without its name.
const (
	actionBlock     = "block"
	actionBlockIP   = "block_ip"
	actionBlockPort = "block_port"
	actionProtocol  = "protocol"
	actionDNS       = "dns"
	actionRoute     = "route"       // xiaov2board: action_value is an outbound
	actionRouteIP   = "route_ip"    // likewise
	actionDefault   = "default_out" // likewise
	actionDirect    = "direct"      // XBoard
	actionProxy     = "proxy"       // XBoard: action_value is a tag
)

// closed ends what is said of a route that cannot be followed.
const closed = "; what it matches is closed"

// Routing is that of n's routes, custom outbounds and custom routes. problems name what is not followed, and
// what becomes of it.
func (n *Node) Routing() (r Routing, problems []string) {
	p := planner{broken: make(map[string]string)}
	for i, text := range n.CustomOutbounds {
		p.custom(i, text)
	}
	for i := range n.Routes {
		p.route(&n.Routes[i])
	}
	for i, text := range n.CustomRoutes {
		p.customRoute(i, text)
	}
	return p.Routing, p.problems
}

// planner gathers a routing.
type planner struct {
	Routing
	broken   map[string]string // by tag: why an outbound of the panel's cannot be used
	problems []string
}

func (p *planner) problem(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

// custom reads one of custom_outbounds, which may be a text that holds several.
func (p *planner) custom(i int, text string) {
	texts, err := foreign.Split(text)
	if err != nil {
		p.problem("custom_outbounds[%d]: %v", i, err)
	}
	for _, text := range texts {
		out, err := foreign.Outbound(text)
		switch {
		case err != nil:
			p.problem("custom_outbounds[%d] %q: %v", i, out.Tag, err)
			p.broken[out.Tag] = err.Error()
		case out.Tag == "":
			p.problem("custom_outbounds[%d]: has no tag, and no route can name it", i)
		case p.own(out.Tag) != nil:
			p.problem("custom_outbounds[%d]: %q is the tag of another one too, which is used", i, out.Tag)
		default:
			p.Outbounds = append(p.Outbounds, out)
		}
	}
}

func (p *planner) own(tag string) *option.Outbound {
	for i := range p.Outbounds {
		if p.Outbounds[i].Tag == tag {
			return &p.Outbounds[i]
		}
	}
	return nil
}

// way returns the tag of the outbound that value is: an object of JSON, or a tag. broken says why it cannot
// be used.
func (p *planner) way(r *Route) (tag, broken string) {
	value := strings.TrimSpace(r.Value)
	switch {
	case value == "":
		return "", "action_value names no outbound"
	case value[0] != '{':
		return value, p.broken[value]
	}
	out, err := foreign.Outbound(value)
	if err != nil {
		return "", fmt.Sprintf("outbound %q: %v", out.Tag, err)
	}
	if out.Tag == "" {
		out.Tag = fmt.Sprintf("route-%d", r.ID)
	}
	// Outbounds with the same tag are usually the same one; if not, each route means its own.
	name := out.Tag
	for i := 2; ; i++ {
		same := p.own(out.Tag)
		if same == nil {
			p.Outbounds = append(p.Outbounds, out)
			return out.Tag, ""
		}
		if same.Type == out.Type && reflect.DeepEqual(same.Options, out.Options) {
			return out.Tag, ""
		}
		out.Tag = fmt.Sprintf("%s-%d", name, i)
	}
}

// route reads one entry of routes.
func (p *planner) route(r *Route) {
	rule := Rule{ID: r.ID, Lines: r.lines()}
	switch r.Action {
	case actionBlock, actionBlockIP, actionBlockPort, actionProtocol:
		if len(rule.Lines) > 0 {
			p.Rules = append(p.Rules, rule)
		}
		return
	case actionDNS:
		p.dns(r, rule.Lines)
		return
	case actionDirect:
		rule.Outbound = constant.TypeDirect
	case actionProxy, actionRoute, actionRouteIP:
		if len(rule.Lines) == 0 {
			p.problem("route %d (%s): has no match and is ignored", r.ID, r.Action)
			return
		}
		rule.Outbound, rule.Broken = p.way(r)
	case actionDefault:
		rule.Lines = nil
		if p.Default != nil {
			p.problem("route %d (%s): route %d is one too, which is used", r.ID, r.Action, p.Default.ID)
			return
		}
		rule.Outbound, rule.Broken = p.way(r)
		p.Default = &rule
	default:
		p.problem("route %d (%.32s): not served by this version, ignored", r.ID, r.Action)
		return
	}
	if rule.Broken != "" {
		p.problem("route %d (%s): %s%s", r.ID, r.Action, rule.Broken, closed)
	}
	if r.Action != actionDefault && len(rule.Lines) > 0 {
		p.Rules = append(p.Rules, rule)
	}
}

// dns reads an entry whose action is dns.
func (p *planner) dns(r *Route, lines []string) {
	servers := strings.FieldsFunc(r.Value, func(c rune) bool { return c == ',' || c == ' ' || c == '\n' || c == '\r' })
	switch {
	case len(servers) == 0:
		p.problem("route %d (dns): action_value names no server; ignored", r.ID)
	case slices.Contains(r.Match, "main"):
		p.problem("route %d (dns): a whole DNS configuration is not served; write one route for each server; ignored", r.ID)
	default:
		p.DNS = append(p.DNS, DNSRule{ID: r.ID, Lines: lines, Servers: servers})
	}
}

// customRoute reads one of custom_routes, which may be a text that holds several.
func (p *planner) customRoute(i int, text string) {
	texts, err := foreign.Split(text)
	if err != nil {
		p.problem("custom_routes[%d]: %v", i, err)
	}
	for _, text := range texts {
		r, err := foreign.ReadRule(text)
		if err != nil {
			p.problem("custom_routes[%d]: %v; ignored", i, err)
			continue
		}
		rule := Rule{Lines: r.Lines, And: r.And, Outbound: r.Outbound, Broken: p.broken[r.Outbound]}
		if r.Outbound == "" {
			rule.Broken = ""
		}
		if rule.Broken != "" {
			p.problem("custom_routes[%d]: outbound %q: %s%s", i, r.Outbound, rule.Broken, closed)
		}
		p.Rules = append(p.Rules, rule)
	}
}

// lines are the rule lines of r's matches.
func (r *Route) lines() []string {
	prefix := ""
	switch r.Action {
	case actionBlockIP, actionRouteIP:
		prefix = "ip:"
	case actionBlockPort:
		prefix = "port:"
	case actionProtocol:
		prefix = "protocol:"
	}
	var lines []string
	for _, m := range r.Match {
		switch m = strings.TrimSpace(m); {
		case m == "":
		case prefix == "":
			lines = append(lines, foreign.Domain(m))
		case strings.HasPrefix(m, prefix) || prefix == "ip:" && strings.Contains(m, "geoip:"):
			lines = append(lines, m)
		default:
			lines = append(lines, prefix+m)
		}
	}
	return lines
}

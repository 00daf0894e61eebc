package panel

import (
	"fmt"
	"strings"
)

// Route is one entry of a panel's routing list.
type Route struct {
	ID     int64    `json:"id,omitempty"`
	Match  []string `json:"match"`
	Action string   `json:"action"`
	Value  string   `json:"action_value,omitempty"`
}

// Actions that block. The first has rule lines of any kind; the matches of the others are of one kind and
// are written without its name.
const (
	actionBlock     = "block"
	actionBlockIP   = "block_ip"
	actionBlockPort = "block_port"
	actionProtocol  = "protocol"
)

// Rules are the audit rules of n's routes. skipped names the actions that are not served.
func (n *Node) Rules() (rules []Rule, skipped []string) {
	for _, r := range n.Routes {
		kind, ok := lineOf(r.Action)
		if !ok {
			skipped = append(skipped, fmt.Sprintf("route %d (%s)", r.ID, r.Action))
			continue
		}
		var lines []string
		for _, m := range r.Match {
			if m = strings.TrimSpace(m); m != "" {
				lines = append(lines, kind(m))
			}
		}
		if len(lines) > 0 {
			rules = append(rules, Rule{ID: r.ID, Lines: lines})
		}
	}
	return rules, skipped
}

// lineOf turns a match of the action into a rule line.
func lineOf(action string) (func(match string) string, bool) {
	switch action {
	case actionBlock:
		return func(m string) string { return m }, true
	case actionBlockIP:
		return func(m string) string {
			if strings.Contains(m, "geoip:") {
				return m
			}
			return named("ip:", m)
		}, true
	case actionBlockPort:
		return func(m string) string { return named("port:", m) }, true
	case actionProtocol:
		return func(m string) string { return named("protocol:", m) }, true
	}
	return nil, false
}

// named puts prefix before text unless it is there.
func named(prefix, text string) string {
	if strings.HasPrefix(text, prefix) {
		return text
	}
	return prefix + text
}

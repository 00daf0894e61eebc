package rule

import (
	"fmt"

	"heki/adapter"
)

// Action is what becomes of a connection.
type Action uint8

// The zero Action blocks, so that a forgotten one is safe.
const (
	ActionBlock  Action = iota // close it
	ActionDirect               // the router's own direct outbound
	ActionRoute                // Decision.Outbound
)

// Section is the part of the table that decided.
type Section uint8

// The sections in the order in which they are asked.
const (
	ByNothing Section = iota // no rule matched and there is no final; or there are no rules at all
	ByAudit
	ByForbid
	ByPanel
	ByRules
	ByFinal
)

// The names of the forbid_* options.
const (
	forbidBitTorrent = "forbid_bittorrent"
	forbidPorts      = "forbid_ports"
	forbidPrivateIP  = "forbid_private_ip"
)

// Decision is what Table.Decide found.
type Decision struct {
	Action    Action
	By        Section
	Outbound  string           // tag, for ActionRoute
	Via       adapter.Outbound // what the tag means; nil: the configuration's outbound
	Index     int              // line of the audit list, or entry of the rules or the panel's rules
	PanelRule int64            // PanelRule.ID
	Broken    string           // PanelRule.Broken
	forbid    string
	set       *Set
	line      int32
}

// Rule says for logs which rule decided: its place and its line. It is built on each call.
func (d Decision) Rule() string {
	line := ""
	if d.set != nil && d.line != none {
		line = ": " + clip(d.set.Line(int(d.line)))
	}
	switch d.By {
	case ByAudit:
		return fmt.Sprintf("route.audit[%d]%s", d.Index, line)
	case ByForbid:
		return "route." + d.forbid
	case ByPanel:
		broken := ""
		if d.Broken != "" {
			broken = ", which cannot be followed: " + d.Broken
		}
		return fmt.Sprintf("panel rule %d%s%s", d.PanelRule, line, broken)
	case ByRules:
		return fmt.Sprintf("route.rules[%d]%s", d.Index, line)
	case ByFinal:
		return "route.final"
	}
	if d.Action == ActionBlock {
		return "no rule matches and route.final is not set"
	}
	return "no rules"
}

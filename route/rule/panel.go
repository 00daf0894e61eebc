package rule

import (
	"maps"
	"sync"
	"sync/atomic"

	"heki/adapter"
)

// PanelRule is one entry of a node's routes, as its panel sent it.
type PanelRule struct {
	ID       int64            // the panel's, for reports
	Match    *Set             // nil matches everything
	And      []*Set           // each of these must match too
	Action   Action           // ActionBlock, ActionDirect or ActionRoute
	Outbound string           // tag, for ActionRoute
	Via      adapter.Outbound // the node's own outbound of that tag; nil: the configuration's
	Broken   string           // why the rule blocks although it was to route
}

// find returns the line of Match that matched, or none; ok says whether the whole rule matches.
func (r *PanelRule) find(sub *subject) (line int32, ok bool) {
	line = none
	if r.Match != nil {
		if line = r.Match.find(sub, false); line == none {
			return none, false
		}
	}
	for _, set := range r.And {
		if set.find(sub, true) == none {
			return none, false
		}
	}
	return line, true
}

// decision is what the rule says of what it matches.
func (r *PanelRule) decision(index int, line int32) Decision {
	return Decision{
		Action: r.Action, Outbound: r.Outbound, Via: r.Via, By: ByPanel,
		Index: index, PanelRule: r.ID, Broken: r.Broken, set: r.Match, line: line,
	}
}

// spared says whether a destination of the whitelist is not asked about the rule: it is not blocked. What
// cannot be routed is, as it must not leave by another way unseen.
func (r *PanelRule) spared() bool { return r.Action == ActionBlock && r.Broken == "" }

// panels holds the rules of panel inbounds by tag. Readers take no lock: each change publishes a new
// map, so a decision sees one tag's rules whole, old or new.
type panels struct {
	mu    sync.Mutex // held by writers
	byTag atomic.Pointer[map[string]*panelRules]
}

// panelRules are one inbound's, with what they need to know.
type panelRules struct {
	list  []PanelRule
	final *PanelRule // in place of the table's; nil: the table's
	need  Need
}

func (p *panels) get(tag string) *panelRules {
	if m := p.byTag.Load(); m != nil {
		return (*m)[tag]
	}
	return nil
}

func (p *panels) set(tag string, rules []PanelRule, final *PanelRule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := make(map[string]*panelRules)
	if old := p.byTag.Load(); old != nil {
		next = maps.Clone(*old)
	}
	if len(rules) == 0 && final == nil {
		delete(next, tag)
	} else {
		entry := &panelRules{list: append([]PanelRule(nil), rules...), final: final}
		for _, r := range rules {
			entry.need.add(r.Match)
			for _, set := range r.And {
				entry.need.add(set)
			}
		}
		next[tag] = entry
	}
	p.byTag.Store(&next)
}

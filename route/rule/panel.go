package rule

import (
	"maps"
	"sync"
	"sync/atomic"
)

// PanelRule is one entry of a node's routes, as its panel sent it.
type PanelRule struct {
	ID       int64  // the panel's, for reports
	Match    *Set   // nil matches everything
	Action   Action // ActionBlock, ActionDirect or ActionRoute
	Outbound string // for ActionRoute
}

// panels holds the rules of panel inbounds by tag. Readers take no lock: each change publishes a new
// map, so a decision sees one tag's rules whole, old or new.
type panels struct {
	mu    sync.Mutex // held by writers
	byTag atomic.Pointer[map[string]*panelRules]
}

// panelRules are one inbound's, with what they need to know.
type panelRules struct {
	list []PanelRule
	need Need
}

func (p *panels) get(tag string) *panelRules {
	if m := p.byTag.Load(); m != nil {
		return (*m)[tag]
	}
	return nil
}

func (p *panels) set(tag string, rules []PanelRule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := make(map[string]*panelRules)
	if old := p.byTag.Load(); old != nil {
		next = maps.Clone(*old)
	}
	if len(rules) == 0 {
		delete(next, tag)
	} else {
		entry := &panelRules{list: append([]PanelRule(nil), rules...)}
		for _, r := range rules {
			entry.need.add(r.Match)
		}
		next[tag] = entry
	}
	p.byTag.Store(&next)
}

package route

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"heki/adapter"
	"heki/route/rule"
)

// PanelRule is one entry of a node's routes. It holds for what matches any of Lines and any of each list of
// And; without Lines it is a default.
type PanelRule struct {
	ID       int64 // the panel's, for hits; 0 is a rule that is not reported
	Lines    []string
	And      [][]string
	Outbound string           // tag; empty: blocks
	Via      adapter.Outbound // the node's own outbound of that tag; nil: the configuration's
	Broken   string           // why nothing can be routed by it: it blocks instead
}

// panelRules are what a panel gave for one node and could not be compiled whole.
type panelRules struct {
	list  []PanelRule
	final *PanelRule
}

// SetPanelRules replaces the rules that a panel gave for one node, and what takes the place of route.final
// for it; nil leaves that to the configuration. Bad lines are left out and reported; the good ones are in
// force. Former outbounds of the node may be closed once it returns. list is kept.
func (r *Router) SetPanelRules(tag string, list []PanelRule, final *PanelRule) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.setPanelRulesLocked(tag, list, final)
}

// RetryPanelRules compiles once more the rules of nodes of which lines had to be left out: the geo file of
// such a line may be there by now. It reports what is still left out.
func (r *Router) RetryPanelRules() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, tag := range slices.Sorted(maps.Keys(r.partial)) {
		p := r.partial[tag]
		if err := r.setPanelRulesLocked(tag, p.list, p.final); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", tag, err))
		}
	}
	return errors.Join(errs...)
}

func (r *Router) setPanelRulesLocked(tag string, list []PanelRule, final *PanelRule) error {
	var rules []rule.PanelRule
	var errs []error
	for i := range list {
		compiled, ok, err := list[i].compile(r.geo)
		errs = append(errs, err)
		if ok {
			rules = append(rules, compiled)
		}
	}
	var last *rule.PanelRule
	if final != nil {
		to := final.to()
		last = &to
	}
	next := *r.state.Load() // a new state tells packet sessions to ask again
	next.table.SetPanel(tag, rules, last)
	r.state.Store(&next)
	err := errors.Join(errs...)
	if err == nil {
		delete(r.partial, tag)
		return nil
	}
	if r.partial == nil {
		r.partial = make(map[string]panelRules)
	}
	r.partial[tag] = panelRules{list, final}
	return err
}

// HasOutbound says whether the configuration has an outbound of that tag now.
func (r *Router) HasOutbound(tag string) bool { return r.state.Load().outbounds.Get(tag) != nil }

// CompileHosts compiles rule lines about names with the lists that the router's own rules have. The set holds
// the good lines, the error names the others.
func (r *Router) CompileHosts(lines []string) (*rule.Hosts, error) {
	return rule.CompileHosts(lines, r.geo)
}

// compile is not ok for a rule that can match nothing: no line is no rule, and not one for everything.
func (p *PanelRule) compile(geo rule.Geo) (_ rule.PanelRule, ok bool, _ error) {
	to := p.to()
	match, err := rule.Compile(p.Lines, geo)
	if match.Empty() {
		return to, false, err
	}
	to.Match = match
	errs := []error{err}
	for _, lines := range p.And {
		set, err := rule.Compile(lines, geo)
		errs = append(errs, err)
		if set.Empty() {
			return to, false, errors.Join(errs...)
		}
		to.And = append(to.And, set)
	}
	return to, true, errors.Join(errs...)
}

// to is what the rule does, without what it matches.
func (p *PanelRule) to() rule.PanelRule {
	to := rule.PanelRule{ID: p.ID, Action: rule.ActionRoute, Outbound: p.Outbound, Via: p.Via, Broken: p.Broken}
	if p.Outbound == "" || p.Broken != "" {
		to.Action, to.Outbound, to.Via = rule.ActionBlock, "", nil
	}
	return to
}

// takeTries bounds how often a connection may find that its outbound was taken out of service after the
// rules had named it.
const takeTries = 8

// taker is implemented by outbounds that are taken out of service while connections use them. Each
// successful Take needs one Release.
type taker interface {
	Take() bool // false: it is closed
	Release()
}

func take(out adapter.Outbound) bool {
	t, ok := out.(taker)
	return !ok || t.Take()
}

func release(out adapter.Outbound) {
	if t, ok := out.(taker); ok {
		t.Release()
	}
}

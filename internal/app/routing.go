package app

import (
	"errors"
	"fmt"
	"reflect"
	"sync"

	"heki/dns"
	"heki/option"
	"heki/outbound"
	"heki/panel"
	"heki/route"
)

// SetRouting implements panel.Host.
func (h host) SetRouting(tag string, r panel.Routing) error {
	own, failed := h.own.build(tag, r.Outbounds)
	var errs []error
	rule := func(p *panel.Rule) route.PanelRule {
		to, err := h.rule(p, own, failed)
		errs = append(errs, err)
		return to
	}
	list := make([]route.PanelRule, len(r.Rules))
	for i := range r.Rules {
		list[i] = rule(&r.Rules[i])
	}
	var final *route.PanelRule
	if r.Default != nil {
		to := rule(r.Default)
		final = &to
	}
	errs = append(errs, h.router.SetPanelRules(tag, list, final), h.setDNS(tag, r.DNS))
	h.own.put(tag, own)
	return errors.Join(errs...)
}

// setDNS gives the node servers of its own. A rule with a server that cannot be asked is left out, and names
// are resolved as if it were not there.
func (h host) setDNS(tag string, rules []panel.DNSRule) error {
	var list []dns.NodeRule
	var errs []error
	for _, r := range rules {
		to := dns.NodeRule{Servers: r.Servers}
		if len(r.Lines) > 0 {
			hosts, err := h.router.CompileHosts(r.Lines)
			if err != nil {
				errs = append(errs, fmt.Errorf("route %d: %w", r.ID, err))
			}
			to.Match = hosts
		}
		if err := checkServers(r.Servers); err != nil {
			errs = append(errs, fmt.Errorf("route %d: %w; it is left out", r.ID, err))
			continue
		}
		list = append(list, to)
	}
	return errors.Join(append(errs, h.resolver.SetNode(tag, list))...)
}

func checkServers(addresses []string) error {
	var errs []error
	for _, address := range addresses {
		if _, err := option.ParseDNSAddress(address); err != nil {
			errs = append(errs, fmt.Errorf("the server %w", err))
		}
	}
	return errors.Join(errs...)
}

// rule finds the outbound that p names. One that could not be built makes the rule close what it matches,
// and so does, for as long as the configuration has it not, one that is nobody's.
func (h host) rule(p *panel.Rule, own map[string]ownOutbound, failed map[string]error) (route.PanelRule, error) {
	to := route.PanelRule{ID: p.ID, Lines: p.Lines, And: p.And, Outbound: p.Outbound, Broken: p.Broken}
	if p.Outbound == "" || p.Broken != "" {
		return to, nil
	}
	if o, ok := own[p.Outbound]; ok {
		to.Via = o.out
		return to, nil
	}
	err := failed[p.Outbound]
	switch {
	case err != nil:
		to.Broken = err.Error()
	case h.router.HasOutbound(p.Outbound):
		return to, nil
	default:
		err = fmt.Errorf("no outbound has the tag %q, neither the panel's nor the configuration's", p.Outbound)
	}
	return to, fmt.Errorf("route %d: %w; what it matches is closed", p.ID, err)
}

// nodeOutbounds are the outbounds that panels gave to single nodes. Two nodes may use one tag for two things.
type nodeOutbounds struct {
	registry *outbound.Registry
	env      outbound.Env

	mu     sync.Mutex
	byNode map[string]map[string]ownOutbound // by the node's tag and the outbound's
}

type ownOutbound struct {
	options option.Outbound
	out     *outbound.Shared
}

func newNodeOutbounds(env outbound.Env) *nodeOutbounds {
	return &nodeOutbounds{registry: outboundTypes(), env: env, byNode: make(map[string]map[string]ownOutbound)}
}

// build returns the node's outbounds as outs wants them, those unchanged that the node has already. What fails
// is left out and told by its tag. Until put, calls for one node come one at a time.
func (n *nodeOutbounds) build(node string, outs []option.Outbound) (next map[string]ownOutbound, failed map[string]error) {
	n.mu.Lock()
	former := n.byNode[node]
	n.mu.Unlock()
	next, failed = make(map[string]ownOutbound), make(map[string]error)
	for _, o := range outs {
		if old, ok := former[o.Tag]; ok && reflect.DeepEqual(old.options, o) {
			next[o.Tag] = old
			continue
		}
		built, err := n.registry.New(n.env, o)
		if err != nil {
			failed[o.Tag] = err
			continue
		}
		next[o.Tag] = ownOutbound{o, outbound.Share(built)}
	}
	return next, failed
}

// put makes next the node's outbounds. Former ones that are not among them close with their last connection.
func (n *nodeOutbounds) put(node string, next map[string]ownOutbound) {
	n.mu.Lock()
	former := n.byNode[node]
	n.byNode[node] = next
	if len(next) == 0 {
		delete(n.byNode, node)
	}
	n.mu.Unlock()
	for tag, old := range former {
		if next[tag].out != old.out {
			old.out.Release()
		}
	}
}

// Close takes all out of service.
func (n *nodeOutbounds) Close() {
	n.mu.Lock()
	all := n.byNode
	n.byNode = make(map[string]map[string]ownOutbound)
	n.mu.Unlock()
	for _, outs := range all {
		for _, o := range outs {
			o.out.Release()
		}
	}
}

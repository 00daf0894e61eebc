package app

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"heki/dns"
	"heki/option"
	"heki/route/rule"
)

// resolver lets a reload change the DNS client under everything that resolves. The nodes' own policies
// outlive the client.
type resolver struct {
	client atomic.Pointer[dns.Client]

	mu    sync.Mutex // one change at a time
	nodes map[string][]dns.NodeRule
}

// Lookup implements adapter.Resolver.
func (r *resolver) Lookup(ctx context.Context, inbound, host string) ([]netip.Addr, error) {
	for {
		client := r.client.Load()
		addrs, err := client.Lookup(ctx, inbound, host)
		if errors.Is(err, dns.ErrClosed) && r.client.Load() != client { // replaced meanwhile
			continue
		}
		return addrs, err
	}
}

// replace puts client in the place of the one in force, with the policies of all nodes.
func (r *resolver) replace(client *dns.Client) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for tag, rules := range r.nodes {
		if err := client.SetNode(tag, rules); err != nil {
			return errors.Join(err, client.Close())
		}
	}
	if former := r.client.Swap(client); former != nil {
		return former.Close()
	}
	return nil
}

// SetNode gives the inbound called tag rules of its own; none removes them. On error nothing changes.
func (r *resolver) SetNode(tag string, rules []dns.NodeRule) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.client.Load().SetNode(tag, rules); err != nil {
		return err
	}
	if r.nodes == nil {
		r.nodes = make(map[string][]dns.NodeRule)
	}
	if len(rules) == 0 {
		delete(r.nodes, tag)
	} else {
		r.nodes[tag] = slices.Clone(rules)
	}
	return nil
}

// compileHosts makes the rules of dns of route/rule's lines.
func compileHosts(geo rule.Geo) dns.Compile {
	return func(at option.Path, lines []string) (dns.Matcher, error) {
		hosts, err := rule.HostsAt(at, lines, geo)
		if err != nil {
			return nil, err
		}
		return hosts, nil
	}
}

package dns

import (
	"errors"
	"fmt"
	"maps"

	"heki/dns/upstream"
	"heki/option"
)

// Matcher says which hosts a rule is for.
type Matcher interface {
	// MatchHost is given a host in lower case, without a trailing dot. It is called on each lookup, by
	// many at once, and must neither block nor allocate.
	MatchHost(host string) bool
}

// Compile makes a Matcher of rule lines. at is the place of the lines, for its errors.
type Compile func(at option.Path, lines []string) (Matcher, error)

// NodeRule sends hosts to servers of a node's own.
type NodeRule struct {
	Match   Matcher  // nil: every host that no other rule is for
	Servers []string // addresses as of option.ParseDNSAddress, in the order tried
}

// rule sends what it matches to a set.
type rule struct {
	match Matcher
	to    *set
}

// policy is what one inbound has of its own. It never changes.
type policy struct {
	rules []rule
	final *set // nil: the client's
}

func (p *policy) sets() []*set {
	var all []*set
	for _, r := range p.rules {
		all = append(all, r.to)
	}
	if p.final != nil {
		all = append(all, p.final)
	}
	return all
}

// choose finds the set for a host: the first of the node's rules that matches, else the first of the
// file's, else the node's own servers for everything, else final.
func (c *Client) choose(inbound, name string) *set {
	own := (*c.nodes.Load())[inbound]
	if own != nil {
		for _, r := range own.rules {
			if r.match.MatchHost(name) {
				return r.to
			}
		}
	}
	for _, r := range c.rules {
		if r.match.MatchHost(name) {
			return r.to
		}
	}
	if own != nil && own.final != nil {
		return own.final
	}
	return c.final
}

// SetNode makes rules the whole policy of the inbound called tag; none removes it. When a node's servers
// do not answer, those of final do, and then the system. Servers are made once per address, shared by
// nodes and closed when no node has them. On error, which names every bad address, the former rules
// stay. rules is not kept.
func (c *Client) SetNode(tag string, rules []NodeRule) error {
	if len(rules) == 0 {
		c.RemoveNode(tag)
		return nil
	}
	built, err := c.buildServers(rules)
	if err != nil {
		return err
	}
	return c.install(tag, rules, built)
}

// install is SetNode with the servers to take for addresses that are not in use.
func (c *Client) install(tag string, rules []NodeRule, built map[string]*server) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return ErrClosed
	}
	next := &policy{}
	var every []string
	for _, r := range rules {
		if r.Match == nil {
			every = append(every, r.Servers...)
			continue
		}
		next.rules = append(next.rules, rule{r.Match, c.nodeSetLocked(r.Servers, built)})
	}
	if len(every) > 0 {
		next.final = c.nodeSetLocked(every, built)
	}
	unused := c.publishLocked(tag, next)
	c.mu.Unlock()
	closeServers(unused)
	return nil
}

// buildServers makes a server for each address, and so finds every mistake before anything changes. One
// that nobody asks has nothing to close.
func (c *Client) buildServers(rules []NodeRule) (map[string]*server, error) {
	built := make(map[string]*server)
	var errs []error
	for i, r := range rules {
		if len(r.Servers) == 0 {
			errs = append(errs, fmt.Errorf("dns rule %d names no server", i+1))
		}
		for _, address := range r.Servers {
			up, err := upstream.New(address, c.find)
			if err != nil {
				errs = append(errs, fmt.Errorf("the server of dns rule %d %w", i+1, err))
				continue
			}
			built[address] = newServer(up, address, address, c.log)
		}
	}
	return built, errors.Join(errs...)
}

// RemoveNode forgets the policy of the inbound called tag.
func (c *Client) RemoveNode(tag string) {
	c.mu.Lock()
	var unused []*server
	if !c.closed {
		unused = c.publishLocked(tag, nil)
	}
	c.mu.Unlock()
	closeServers(unused)
}

// publishLocked puts next in the place of the policy of tag, and returns the servers to close.
func (c *Client) publishLocked(tag string, next *policy) []*server {
	old := *c.nodes.Load()
	former := old[tag]
	if former == nil && next == nil {
		return nil
	}
	all := make(map[string]*policy, len(old)+1)
	maps.Copy(all, old)
	if next == nil {
		delete(all, tag)
	} else {
		all[tag] = next
	}
	c.nodes.Store(&all)
	if former == nil {
		return nil
	}
	var unused []*server
	for _, s := range former.sets() {
		unused = append(unused, c.pool.releaseLocked(s)...)
	}
	return unused
}

package dns

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// set is servers in the order they are asked, and how. Equal ones are one, so that inbounds with the
// same policy share answers. It is used by rules and by flights; with the last of them it goes.
type set struct {
	id   uint64 // in the keys of the cache, never given twice
	text string // what makes it equal to others
	legs []leg
	uses int // guarded by Client.mu
}

// leg is a run of servers of which the same is asked.
type leg struct {
	servers  []*server
	families []bool // ipv6 or not, the preferred one first
	standIn  bool   // answers for the servers that a rule names
}

// wish is a server and what is to be asked of it.
type wish struct {
	server   *server
	strategy string
	standIn  bool
}

// pool holds the sets and the servers in use. Client.mu guards it.
type pool struct {
	last    uint64 // id given
	sets    map[string]*set
	servers map[string]*server // by address
}

// setLocked returns the set for the wishes, which counts one use more.
func (p *pool) setLocked(wishes []wish) *set {
	text := new(strings.Builder)
	for _, w := range wishes {
		fmt.Fprintf(text, "%d %s %v\n", w.server.id, w.strategy, w.standIn)
	}
	s := p.sets[text.String()]
	if s == nil {
		p.last++
		s = &set{id: p.last, text: text.String()}
		for i, w := range wishes {
			if i == 0 || w.strategy != wishes[i-1].strategy || w.standIn != wishes[i-1].standIn {
				s.legs = append(s.legs, leg{families: familiesOf(w.strategy), standIn: w.standIn})
			}
			last := &s.legs[len(s.legs)-1]
			last.servers = append(last.servers, w.server)
			w.server.sets++
		}
		p.sets[s.text] = s
	}
	s.uses++
	return s
}

// releaseLocked takes one use back, and returns the servers to close because nothing uses them any more.
func (p *pool) releaseLocked(s *set) (unused []*server) {
	if s.uses--; s.uses > 0 {
		return nil
	}
	delete(p.sets, s.text)
	for _, l := range s.legs {
		for _, one := range l.servers {
			if one.sets--; one.sets == 0 && !one.fixed {
				delete(p.servers, one.address)
				unused = append(unused, one)
			}
		}
	}
	return unused
}

// serverLocked returns the server in use at the address of s, which is s when there is none.
func (p *pool) serverLocked(s *server) *server {
	if known := p.servers[s.address]; known != nil {
		return known
	}
	p.addLocked(s)
	return s
}

// addLocked gives s its id.
func (p *pool) addLocked(s *server) {
	p.last++
	s.id = p.last
	if p.servers[s.address] == nil {
		p.servers[s.address] = s
	}
}

// nodeSetLocked is the set of a node's servers, with the client's own behind them.
func (c *Client) nodeSetLocked(addresses []string, built map[string]*server) *set {
	var first []wish
	for _, address := range addresses {
		one := c.pool.serverLocked(built[address])
		if !holds(first, one) {
			first = append(first, c.wish(one, ""))
		}
	}
	return c.pool.setLocked(c.withStandIns(first, ""))
}

// wish is what is asked of s: the strategy of the rule, else of the server, else of all.
func (c *Client) wish(s *server, strategy string) wish {
	return wish{server: s, strategy: cmp.Or(strategy, s.strategy, c.strategy)}
}

// withStandIns adds the servers of final, and the system, to those that a rule names.
func (c *Client) withStandIns(list []wish, strategy string) []wish {
	for _, s := range c.defaults {
		if !holds(list, s) {
			w := c.wish(s, strategy)
			w.standIn = true
			list = append(list, w)
		}
	}
	return list
}

func holds(list []wish, s *server) bool {
	return slices.ContainsFunc(list, func(w wish) bool { return w.server == s })
}

func familiesOf(strategy string) []bool {
	switch strategy {
	case "ipv4_only":
		return []bool{false}
	case "ipv6_only":
		return []bool{true}
	case "ipv6_first":
		return []bool{true, false}
	}
	return []bool{false, true}
}

func closeServers(list []*server) {
	for _, s := range list {
		if err := s.Close(); err != nil {
			s.log.Debug("dns server did not close", slog.String("server", s.tag), slog.Any("err", err))
		}
	}
}

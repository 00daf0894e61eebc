package option

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"heki/constant"
)

// Ways of a group to choose a member, as written in pick.
const (
	PickRandom       = "random"
	PickRoundRobin   = "round_robin"
	PickLeastConn    = "least_conn"
	PickLeastLatency = "least_latency"
	PickUser         = "hash:user"
	PickSource       = "hash:source"
	PickDomain       = "hash:domain"
)

// MaxGroup is the most members of a group.
const MaxGroup = 64

// Group spreads connections over other outbounds.
type Group struct {
	Outbounds Listable[string] `json:"outbounds"`          // tags, 1 to 64; groups too
	Pick      string           `json:"pick,omitempty"`     // default random
	Failover  bool             `json:"failover,omitempty"` // where one cannot connect, the next is asked
	Check     *GroupCheck      `json:"check,omitempty"`    // none: all are taken for healthy
}

// GroupCheck says how a group finds out which members work.
type GroupCheck struct {
	URL      string   `json:"url"`                // http or https; asked for through each member, any answer below 400 is good
	Interval Duration `json:"interval,omitempty"` // default 60s
	Timeout  Duration `json:"timeout,omitempty"`  // of each member, default 5s
}

// Bounds of a check.
const (
	checkInterval    = time.Minute
	minCheckInterval = time.Second
	maxCheckInterval = 24 * time.Hour
	checkTimeout     = 5 * time.Second
	minCheckTimeout  = 100 * time.Millisecond
	maxCheckTimeout  = time.Minute
)

// Validate fills defaults and reports every mistake at once. That the members exist, and lead nowhere
// back, is for Options.Validate, which knows the others.
func (g *Group) Validate(at Path) error {
	var r report
	in := at.Key("outbounds")
	switch n := len(g.Outbounds); {
	case n == 0:
		r.add(in, "is required, the tags of other outbounds")
	case n > MaxGroup:
		r.add(in, "has %d members, must have at most %d", n, MaxGroup)
	}
	for i, tag := range g.Outbounds {
		if slices.Contains(g.Outbounds[:i], tag) {
			r.add(in.item(i, len(g.Outbounds)), "is %q, which is listed already", short(tag))
		}
	}
	if g.Pick == "" {
		g.Pick = PickRandom
	}
	r.join(oneOf(at.Key("pick"), g.Pick, PickRandom, PickRoundRobin, PickLeastConn, PickLeastLatency, PickUser, PickSource, PickDomain))
	switch {
	case g.Check != nil:
		r.join(g.Check.Validate(at.Key("check")))
	case g.Pick == PickLeastLatency:
		r.add(at.Key("check"), `is required for pick %s, which compares what it measured; write { "url": "http://cp.example.org/204" }`, g.Pick)
	}
	return r.err()
}

// Validate fills defaults and reports every mistake at once.
func (c *GroupCheck) Validate(at Path) error {
	var r report
	u, err := url.Parse(c.URL)
	switch {
	case c.URL == "":
		r.add(at.Key("url"), `is required, a page such as "http://cp.example.org/204"`)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		r.add(at.Key("url"), "is %q, must begin with http:// or https:// and a host", short(c.URL))
	default:
		r.join(hostName(at.Key("url"), u.Hostname()))
		if port := u.Port(); port != "" {
			r.join(checkPorts(at.Key("url"), port))
		}
		if u.User != nil {
			r.add(at.Key("url"), "has a user, must not")
		}
	}
	fillDuration(&c.Interval, checkInterval)
	fillDuration(&c.Timeout, checkTimeout)
	r.join(durationIn(at.Key("interval"), c.Interval, minCheckInterval, maxCheckInterval))
	r.join(durationIn(at.Key("timeout"), c.Timeout, minCheckTimeout, maxCheckTimeout))
	return r.err()
}

// validateGroups checks what groups name. The tags direct and block exist even when no outbound has them.
func (o *Options) validateGroups(at Path) error {
	tags := []string{constant.TypeDirect, constant.TypeBlock}
	groups := make(map[string]*Group)
	for _, out := range o.Outbounds {
		if out.Tag == "" {
			continue
		}
		if !slices.Contains(tags, out.Tag) {
			tags = append(tags, out.Tag)
		}
		if g, ok := out.Options.(*Group); ok {
			groups[out.Tag] = g
		}
	}
	var r report
	for i, out := range o.Outbounds {
		g, ok := out.Options.(*Group)
		if !ok {
			continue
		}
		in := at.Index(i).Key("outbounds")
		for k, tag := range g.Outbounds {
			place := in.item(k, len(g.Outbounds))
			if way := back(groups, out.Tag, []string{out.Tag, tag}, make(map[string]bool)); out.Tag != "" && way != nil {
				r.add(place, "leads back to the group itself: %s", strings.Join(way, " → "))
				continue
			}
			r.join(knownTag(place, tag, "outbound", tags))
		}
	}
	return r.err()
}

// back is the way on from the end of way that leads to tag, or nil. seen has the groups that do not.
func back(groups map[string]*Group, tag string, way []string, seen map[string]bool) []string {
	last := way[len(way)-1]
	if last == tag {
		return way
	}
	if seen[last] || groups[last] == nil {
		return nil
	}
	seen[last] = true
	for _, next := range groups[last].Outbounds {
		if found := back(groups, tag, append(way[:len(way):len(way)], next), seen); found != nil {
			return found
		}
	}
	return nil
}

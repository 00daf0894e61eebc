package option

import (
	"slices"
	"time"
)

// Defaults and bounds of the DNS cache.
const (
	defaultCacheTTL  = 10 * time.Minute
	minCacheTTL      = time.Second
	maxCacheTTL      = 24 * time.Hour
	defaultCacheSize = 4096
	maxCacheSize     = 1 << 20
)

// DNS configures how heki resolves names.
type DNS struct {
	Servers  []DNSServer      `json:"servers,omitempty"`  // none: the system's
	Rules    []DNSRule        `json:"rules,omitempty"`    // the first that matches decides
	Final    Listable[string] `json:"final,omitempty"`    // server tags in the order tried; default all, then the system
	Strategy string           `json:"strategy,omitempty"` // ipv4_first (default), ipv4_only, ipv6_first, ipv6_only
	Cache    DNSCache         `json:"cache,omitempty"`
}

// DNSServer is one upstream.
type DNSServer struct {
	Tag      string `json:"tag,omitempty"`
	Address  string `json:"address"`            // as of ParseDNSAddress
	Strategy string `json:"strategy,omitempty"` // of what this server answers; default dns.strategy
}

// DNSRule sends the hosts that match any of the lines to servers of their own. When none of them
// answers, those of final do, and then the system.
type DNSRule struct {
	Match    Listable[string] `json:"match"`              // rule lines about domains
	Servers  Listable[string] `json:"servers"`            // tags in the order tried
	Strategy string           `json:"strategy,omitempty"` // default that of the server that answers
}

// DNSCache bounds the cache.
type DNSCache struct {
	TTL  Duration `json:"ttl,omitempty"`  // upper bound of an answer's age; default 10m
	Size int      `json:"size,omitempty"` // names; default 4096
}

// Validate fills defaults and checks the servers. sing-box's names of strategies are taken too.
func (d *DNS) Validate(at Path) error {
	var r report
	first := make(map[string]int, len(d.Servers))
	for i := range d.Servers {
		in := at.Key("servers").Index(i)
		s := &d.Servers[i]
		r.join(s.Validate(in))
		if j, taken := first[s.Tag]; taken && s.Tag != "" {
			r.add(in.Key("tag"), "%q is also the tag of %s; tags must be unique", short(s.Tag), at.Key("servers").Index(j))
			continue
		}
		first[s.Tag] = i
	}
	for i := range d.Servers {
		if s := &d.Servers[i]; s.Tag == "" && s.Address != "" {
			s.Tag = uniqueName(s.Address, func(name string) bool { _, taken := first[name]; return taken })
			first[s.Tag] = i
		}
	}
	for i := range d.Rules {
		in := at.Key("rules").Index(i)
		r.join(d.Rules[i].Validate(in))
		r.join(d.checkTags(in.Key("servers"), d.Rules[i].Servers))
	}
	r.join(d.checkTags(at.Key("final"), d.Final))
	if d.Strategy == "" {
		d.Strategy = "ipv4_first"
	}
	r.join(checkStrategy(at.Key("strategy"), &d.Strategy))
	r.join(d.Cache.Validate(at.Key("cache")))
	return r.err()
}

// checkStrategy takes sing-box's names too, and nothing at all.
func checkStrategy(at Path, strategy *string) error {
	switch *strategy {
	case "":
		return nil
	case "prefer_ipv4":
		*strategy = "ipv4_first"
	case "prefer_ipv6":
		*strategy = "ipv6_first"
	}
	return oneOf(at, *strategy, "ipv4_first", "ipv4_only", "ipv6_first", "ipv6_only")
}

// checkTags checks a list of servers.
func (d *DNS) checkTags(at Path, list []string) error {
	var tags []string
	for _, s := range d.Servers {
		if s.Tag != "" && !slices.Contains(tags, s.Tag) {
			tags = append(tags, s.Tag)
		}
	}
	var r report
	seen := make(map[string]bool, len(list))
	for i, tag := range list {
		in := at.item(i, len(list))
		switch {
		case seen[tag]:
			r.add(in, "%q stands here twice; a server is tried once", short(tag))
		case len(tags) == 0:
			r.add(in, "no server has the tag %q: dns.servers is empty", short(tag))
		default:
			r.join(knownTag(in, tag, "server", tags))
		}
		seen[tag] = true
	}
	return r.err()
}

// Validate checks the address; the tag is given by DNS.Validate, which knows the others.
func (s *DNSServer) Validate(at Path) error {
	var r report
	r.join(printable(at.Key("tag"), s.Tag))
	_, err := ParseDNSAddress(s.Address)
	r.join(wrap(at.Key("address"), err))
	r.join(checkStrategy(at.Key("strategy"), &s.Strategy))
	return r.err()
}

// Validate checks all but the lines, which route/rule compiles, and the tags.
func (u *DNSRule) Validate(at Path) error {
	var r report
	if len(u.Match) == 0 {
		r.add(at.Key("match"), `is required, at least one rule line such as "domain:example.org"`)
	}
	r.join(checkLines(at.Key("match"), u.Match))
	if len(u.Servers) == 0 {
		r.add(at.Key("servers"), "is required, tags of dns.servers")
	}
	r.join(checkStrategy(at.Key("strategy"), &u.Strategy))
	return r.err()
}

// Validate fills defaults and checks the bounds.
func (c *DNSCache) Validate(at Path) error {
	fillDuration(&c.TTL, defaultCacheTTL)
	if c.Size == 0 {
		c.Size = defaultCacheSize
	}
	var r report
	r.join(durationIn(at.Key("ttl"), c.TTL, minCacheTTL, maxCacheTTL))
	r.join(intIn(at.Key("size"), c.Size, 1, maxCacheSize))
	return r.err()
}

// refusedDNSRule has the commonest conditions of sing-box's rules with their form in heki's lines.
var refusedDNSRule = map[string]refusal{
	"server":         {text: `is sing-box's; write servers: ["TAG"]`, excuses: []string{"servers"}},
	"action":         {text: "is sing-box's; a rule names servers, and route.audit refuses hosts"},
	"type":           {text: `is sing-box's; write match: ["domain:example.org"] and servers`, excuses: []string{"match"}},
	"outbound":       never("the servers of outbounds are looked up through dns too"),
	"domain":         asLine("full:example.org"),
	"domain_suffix":  asLine("domain:example.org"),
	"domain_keyword": asLine("example"),
	"domain_regex":   asLine("regexp:^a.*"),
	"geosite":        asLine("geosite:netflix"),
	"rule_set":       later("; write the lines into match"),
	"invert":         later(""),
	"query_type":     never("heki asks for addresses only"),
	"disable_cache":  later(""),
	"rewrite_ttl":    later("; write dns.cache.ttl"),
	"client_subnet":  later(""),
}

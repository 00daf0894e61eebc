package option

// Outbound is one entry of "outbounds": a type, a tag and that type's options.
type Outbound struct {
	Type    string          `json:"type"`
	Tag     string          `json:"tag,omitempty"` // unique; default the type, then type-2, …
	Options OutboundOptions `json:"-"`             // *Direct, *Block, *SocksOutbound, …
}

// OutboundOptions is implemented by the options of every outbound type.
type OutboundOptions interface {
	Validate(at Path) error
}

// Direct configures a direct outbound.
type Direct struct {
	Bind string `json:"bind,omitempty"` // "inbound" (source in, source out), an address, an interface
	Dial
}

// Block configures a block outbound: it refuses everything.
type Block struct{}

// Route decides what becomes of a connection. Order: whitelist, audit, forbid_*, rules, final.
type Route struct {
	Sniff            Listable[string] `json:"sniff,omitempty"` // tls, http, quic; default all three when a rule asks for a domain
	SniffRedirect    bool             `json:"sniff_redirect,omitempty"`
	ForbidBitTorrent bool             `json:"forbid_bittorrent,omitempty"`
	ForbidPorts      string           `json:"forbid_ports,omitempty"` // "25,465,1000-2000"
	ForbidPrivateIP  bool             `json:"forbid_private_ip,omitempty"`
	Whitelist        Listable[string] `json:"whitelist,omitempty"` // rule lines
	Audit            Listable[string] `json:"audit,omitempty"`     // rule lines
	Rules            []RouteTo        `json:"rules,omitempty"`
	Final            string           `json:"final,omitempty"` // outbound tag
}

// RouteTo sends what matches any of the lines to an outbound.
type RouteTo struct {
	Match    Listable[string] `json:"match"`
	Outbound string           `json:"outbound"`
}

// DNS configures how heki resolves names.
type DNS struct {
	Servers  []DNSServer      `json:"servers,omitempty"`  // none: the system's
	Final    Listable[string] `json:"final,omitempty"`    // server tags in the order tried; default all, then the system
	Strategy string           `json:"strategy,omitempty"` // ipv4_first (default), ipv4_only, ipv6_first, ipv6_only
	Cache    DNSCache         `json:"cache,omitempty"`
}

// DNSServer is one upstream.
type DNSServer struct {
	Tag     string `json:"tag,omitempty"`
	Address string `json:"address"` // system, 8.8.8.8, 8.8.8.8:553, dns.google, udp://…, tcp://…
}

// DNSCache bounds the cache.
type DNSCache struct {
	TTL  Duration `json:"ttl,omitempty"`  // upper bound of an answer's age; default 10m
	Size int      `json:"size,omitempty"` // names; default 4096
}

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
	Bind           string `json:"bind,omitempty"`            // "inbound" (source in, source out), an address, an interface
	DomainStrategy string `json:"domain_strategy,omitempty"` // which of a name's addresses: ipv4_first, ipv4_only, ipv6_first, ipv6_only; default all, in the order of dns.strategy
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
	Geo              Geo              `json:"geo,omitempty"`
}

// RouteTo sends what matches any of the lines to an outbound.
type RouteTo struct {
	Match    Listable[string] `json:"match"`
	Outbound string           `json:"outbound"`
}

package option

import (
	"slices"
	"strings"
)

// ShadowsocksR configures a ShadowsocksR inbound: ports that several users share, and users with ports
// of their own.
type ShadowsocksR struct {
	Stream
	Packet
	SSRSharing
	SSRPort                // the inbound's own port
	Ports   []SSRExtraPort `json:"ports,omitempty"` // more ports of the same users
	Users   []SSRUser      `json:"users,omitempty"` // empty when a panel feeds the inbound
}

// SSRSharing is what ports that users share have in common. A panel does not say it.
type SSRSharing struct {
	MuRegex  string `json:"mu_regex,omitempty"`  // a user's host in mode obfs; default "%5m%id.%suffix"
	MuSuffix string `json:"mu_suffix,omitempty"` // default "microsoft.com"
	// CIDLimit counts devices by the client ids of the protocol in mode protocol, not by address.
	CIDLimit *bool `json:"ssr_cid_limit,omitempty"` // default true
	ObfsUDP  bool  `json:"ss_obfs_udp,omitempty"`   // mode obfs with origin: relay UDP, which names no user
}

// SSRPort is how a port speaks, and how it tells users apart.
type SSRPort struct {
	Method        string `json:"method,omitempty"`   // default none
	Password      string `json:"password,omitempty"` // of the port
	Protocol      string `json:"protocol,omitempty"` // default origin
	ProtocolParam string `json:"protocol_param,omitempty"`
	Obfs          string `json:"obfs,omitempty"` // default plain
	ObfsParam     string `json:"obfs_param,omitempty"`
	Mode          string `json:"mode,omitempty"` // single_user (default), protocol, obfs; of the inbound also multi_port
}

// SSRExtraPort is one more port.
type SSRExtraPort struct {
	ListenPort uint16 `json:"listen_port"`
	SSRPort
}

// SSRUser is one static ShadowsocksR user. With a listen_port the port is the user's own, and speaks as
// the user's fields say; what they leave out is the inbound's.
type SSRUser struct {
	User
	Password      string `json:"password,omitempty"` // required but for the one user of mode single_user
	ListenPort    uint16 `json:"listen_port,omitempty"`
	Method        string `json:"method,omitempty"`
	Protocol      string `json:"protocol,omitempty"`
	ProtocolParam string `json:"protocol_param,omitempty"`
	Obfs          string `json:"obfs,omitempty"`
	ObfsParam     string `json:"obfs_param,omitempty"`
}

// Modes of a port.
const (
	SSRSingleUser = "single_user" // the port's password is its one user's
	SSRProtocol   = "protocol"    // the protocol names the user by id
	SSRObfs       = "obfs"        // the host in the obfs is the user's
	SSRMultiPort  = "multi_port"  // the inbound has no port of its own, but users and ports have
)

// Defaults of hosts.
const (
	defaultMuRegex  = "%5m%id.%suffix"
	defaultMuSuffix = "microsoft.com"
)

// Names of the layers.
var (
	ssrMethods = []string{
		"none", "rc4", "rc4-md5", "aes-128-cfb", "aes-192-cfb", "aes-256-cfb", "aes-128-ctr", "aes-192-ctr", "aes-256-ctr",
		"aes-128-ofb", "aes-192-ofb", "aes-256-ofb", "chacha20", "chacha20-ietf", "salsa20",
		"aes-128-gcm", "aes-192-gcm", "aes-256-gcm", "chacha20-ietf-poly1305",
	}
	ssrProtocols = []string{
		ssrOrigin, "auth_aes128_md5", "auth_aes128_sha1", "auth_chain_a", "auth_chain_b", "auth_chain_c", "auth_chain_d", "auth_chain_e", "auth_chain_f",
	}
	ssrObfs  = []string{ssrPlain, "http_simple", "http_post", "tls1.2_ticket_auth", "simple_obfs_http", "simple_obfs_tls"}
	ssrModes = []string{SSRSingleUser, SSRProtocol, SSRObfs, SSRMultiPort}
)

const (
	ssrOrigin = "origin"
	ssrPlain  = "plain"
)

// SSRMethods returns the ciphers.
func SSRMethods() []string { return slices.Clone(ssrMethods) }

// SSRProtocols returns the protocols.
func SSRProtocols() []string { return slices.Clone(ssrProtocols) }

// SSRObfsNames returns the obfs.
func SSRObfsNames() []string { return slices.Clone(ssrObfs) }

// SSRName is the name of the layer that panels call name. They mark servers that take clients without the
// layer too, of which they have none, and a way of clients to hurry, which every server takes.
func SSRName(name string) string {
	name = strings.TrimSuffix(strings.ToLower(name), "_compatible")
	if name == "tls1.2_ticket_fastauth" {
		return "tls1.2_ticket_auth"
	}
	return name
}

// CountsClients says whether devices are client ids, where the protocol names the user.
func (s *SSRSharing) CountsClients() bool { return s.CIDLimit == nil || *s.CIDLimit }

// Validate fills defaults and reports every mistake at once. The mistakes never show a password.
func (s *ShadowsocksR) Validate(at Path) error {
	var r report
	own := s.Mode != SSRMultiPort
	if !own {
		if s.ListenPort != 0 {
			r.add(at.Key("listen_port"), "is %d, but in mode multi_port users have ports and the inbound has none", s.ListenPort)
		}
		s.ListenPort = 1 // Listen asks for one
	}
	r.join(s.Stream.Validate(at))
	if !own {
		s.ListenPort = 0
	}
	r.join(s.Packet.Validate(at))
	if !s.HasUDP() {
		r.join(s.noDatagrams(at))
	}
	if s.Transport != nil {
		r.add(at.Key("transport"), "is not served with ShadowsocksR, which has none beside obfs")
	}
	if s.TLS != nil && s.TLS.Enabled {
		r.add(at.Key("tls"), "is not served with ShadowsocksR; tls1.2_ticket_auth only looks like it")
	}
	if s.Multiplex != nil && s.Multiplex.Enabled {
		r.add(at.Key("multiplex"), "is not served with ShadowsocksR, whose clients have none")
	}
	if s.MuRegex == "" {
		s.MuRegex = defaultMuRegex
	}
	if s.MuSuffix == "" {
		s.MuSuffix = defaultMuSuffix
	}
	r.join(s.SSRPort.validate(at, own, ssrModes...))
	taken := map[uint16]Path{}
	if own {
		taken[s.ListenPort] = at
	}
	for i := range s.Ports {
		p, in := &s.Ports[i], at.Key("ports").Index(i)
		r.join(takePort(in, taken, p.ListenPort))
		r.join(p.validate(in, true, SSRSingleUser, SSRProtocol, SSRObfs))
	}
	r.join(s.validateUsers(at.Key("users"), taken))
	return r.err()
}

func takePort(at Path, taken map[uint16]Path, port uint16) error {
	if port == 0 {
		return at.Key("listen_port").Errorf("is required, 1 to 65535")
	}
	if first, twice := taken[port]; twice {
		return at.Key("listen_port").Errorf("is %d, which %s has already", port, first)
	}
	taken[port] = at
	return nil
}

// validate fills defaults; used says that there is such a port, which has a password.
func (p *SSRPort) validate(at Path, used bool, modes ...string) error {
	var r report
	fill := func(field *string, value string) {
		if *field = strings.ToLower(*field); *field == "" {
			*field = value
		}
	}
	fill(&p.Method, "none")
	fill(&p.Protocol, ssrOrigin)
	fill(&p.Obfs, ssrPlain)
	fill(&p.Mode, SSRSingleUser)
	r.join(oneOf(at.Key("method"), p.Method, ssrMethods...))
	r.join(oneOf(at.Key("protocol"), p.Protocol, ssrProtocols...))
	r.join(oneOf(at.Key("obfs"), p.Obfs, ssrObfs...))
	r.join(oneOf(at.Key("mode"), p.Mode, modes...))
	if used && p.Password == "" {
		r.add(at.Key("password"), "is required, the password of the port")
	}
	switch {
	case p.Mode == SSRProtocol && p.Protocol == ssrOrigin:
		r.add(at.Key("protocol"), "is origin, which names no user; mode protocol takes auth_aes128_* and auth_chain_*")
	case p.Mode == SSRObfs && p.Obfs == ssrPlain:
		r.add(at.Key("obfs"), "is plain, which names no host; mode obfs takes any other")
	}
	return r.err()
}

func (s *ShadowsocksR) validateUsers(in Path, taken map[uint16]Path) error {
	var r report
	twins := newTwins(in, "id")
	sharing := 0
	for i := range s.Users {
		u, at := &s.Users[i], in.Index(i)
		r.join(u.User.Validate(at))
		r.join(twins.add(i, &u.User, ""))
		for _, f := range []struct {
			key   string
			field *string
			names []string
			value string
		}{{"method", &u.Method, ssrMethods, s.Method}, {"protocol", &u.Protocol, ssrProtocols, s.Protocol}, {"obfs", &u.Obfs, ssrObfs, s.Obfs}} {
			if *f.field = strings.ToLower(*f.field); *f.field == "" {
				*f.field = f.value
				continue
			}
			r.join(oneOf(at.Key(f.key), *f.field, f.names...))
		}
		if u.ListenPort != 0 {
			r.join(takePort(at, taken, u.ListenPort))
		} else {
			sharing++
		}
		r.join(s.validateUser(at, u))
	}
	if len(s.Users) > 0 && s.single() && sharing > 1 {
		r.add(in, "has %d users without a listen_port, but a port of mode single_user has one", sharing)
	}
	return r.err()
}

// single says whether a port of mode single_user is there.
func (s *ShadowsocksR) single() bool {
	return s.Mode == SSRSingleUser ||
		slices.ContainsFunc(s.Ports, func(p SSRExtraPort) bool { return p.Mode == SSRSingleUser })
}

// maxSSRID is what the protocols can name.
const maxSSRID = 1<<32 - 1

func (s *ShadowsocksR) validateUser(at Path, u *SSRUser) error {
	var r report
	if u.ListenPort == 0 && s.Mode == SSRMultiPort && len(s.Ports) == 0 {
		r.add(at.Key("listen_port"), "is required in mode multi_port, 1 to 65535")
	}
	shares := u.ListenPort == 0 && !s.single()
	if u.Password == "" && (u.ListenPort != 0 || shares) {
		r.add(at.Key("password"), "is required, any text that is not empty")
	}
	if shares && u.ID == 0 {
		r.add(at.Key("id"), "is required: clients say it")
	}
	if u.ID > maxSSRID {
		r.add(at.Key("id"), "is %d, must be at most %d", u.ID, int64(maxSSRID))
	}
	return r.err()
}

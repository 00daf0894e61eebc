package option

import (
	"net/netip"
	"strings"
)

// Versions of SOCKS, as written in version.
const (
	Socks4  = "4"
	Socks4A = "4a"
	Socks5  = "5"
)

// SocksOutbound reaches destinations through a SOCKS server, with sing-box's names.
type SocksOutbound struct {
	Remote
	Packet
	Version  string `json:"version,omitempty"` // 4, 4a or 5; default 5
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
}

// maxSocksText bounds username and password in bytes: RFC 1929 §2.
const maxSocksText = 255

// Validate fills defaults and reports every mistake at once. The mistakes never show the password.
func (o *SocksOutbound) Validate(at Path) error {
	var r report
	r.join(o.Remote.Validate(at))
	r.join(o.Packet.Validate(at))
	if o.Version == "" {
		o.Version = Socks5
	}
	r.join(oneOf(at.Key("version"), o.Version, Socks4, Socks4A, Socks5))
	r.join(printable(at.Key("username"), o.Username))
	if n := len(o.Username); n > maxSocksText {
		r.add(at.Key("username"), "has %d bytes, must have at most %d", n, maxSocksText)
	}
	if n := len(o.Password); n > maxSocksText {
		r.add(at.Key("password"), "has %d bytes, must have at most %d", n, maxSocksText)
	}
	if o.Version == Socks5 {
		if o.Password != "" && o.Username == "" {
			r.add(at.Key("username"), "is required beside a password")
		}
		return r.err()
	}
	if o.Password != "" {
		r.add(at.Key("password"), "is for version 5; version %s sends a user name only", short(o.Version))
	}
	if !o.HasTCP() {
		r.add(at.Key("network"), "leaves only udp, which version %s has not", short(o.Version))
	}
	return r.err()
}

// HTTPOutbound reaches destinations through an HTTP proxy's CONNECT, with sing-box's names. It has no UDP.
type HTTPOutbound struct {
	Remote
	Username string                      `json:"username,omitempty"`
	Password string                      `json:"password,omitempty"`
	Headers  map[string]Listable[string] `json:"headers,omitempty"`
	TLS      *ClientTLS                  `json:"tls,omitempty"`
}

// Validate fills defaults and reports every mistake at once. The mistakes never show the password.
func (o *HTTPOutbound) Validate(at Path) error {
	var r report
	r.join(o.Remote.Validate(at))
	r.join(printable(at.Key("username"), o.Username)) // RFC 7617 §2
	if strings.ContainsRune(o.Username, ':') {
		r.add(at.Key("username"), "holds a colon, which ends it in HTTP's basic authentication")
	}
	if o.Password != "" && o.Username == "" {
		r.add(at.Key("username"), "is required beside a password")
	}
	r.join(checkHeaders(at.Key("headers"), o.Headers))
	for _, name := range sortedKeys(o.Headers) {
		switch strings.ToLower(name) {
		case "content-length", "transfer-encoding", "host":
			r.add(at.Key("headers").Key(name), "is heki's to write")
		}
	}
	if o.TLS != nil {
		r.join(o.TLS.Validate(at.Key("tls")))
	}
	return r.err()
}

// RedirectOutbound sends everything to one server, in place of the destination. It is the redirect of
// Xray's freedom outbound.
type RedirectOutbound struct {
	Direct
	Server     string `json:"server"`
	ServerPort uint16 `json:"server_port,omitempty"` // 0: the port of the destination
}

// Validate fills defaults; server is required.
func (o *RedirectOutbound) Validate(at Path) error {
	var r report
	r.join(o.Direct.Validate(at))
	if o.Server == "" {
		r.add(at.Key("server"), "is required, a host name or an IP address")
	} else {
		r.join(hostName(at.Key("server"), o.Server))
	}
	if addr, err := netip.ParseAddr(o.Server); err == nil && addr.Zone() != "" {
		r.add(at.Key("server"), "has a zone; write bind_interface")
	}
	return r.err()
}

// refusedHTTPOutbound is what sing-box's has beside that.
var refusedHTTPOutbound = map[string]refusal{
	"network": never("an HTTP proxy carries TCP only"),
	"path":    later(""),
}

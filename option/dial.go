package option

import (
	"net/netip"
	"time"

	"heki/constant"
)

// Dial says how an outbound makes its own connections, with sing-box's names.
type Dial struct {
	BindInterface    string   `json:"bind_interface,omitempty"`
	Inet4BindAddress string   `json:"inet4_bind_address,omitempty"`
	Inet6BindAddress string   `json:"inet6_bind_address,omitempty"`
	RoutingMark      uint32   `json:"routing_mark,omitempty" also:"hex"` // a number, or text such as "0x1f"
	ConnectTimeout   Duration `json:"connect_timeout,omitempty"`         // each address; default 5s
	TCPFastOpen      bool     `json:"tcp_fast_open,omitempty"`
	TCPMultiPath     bool     `json:"tcp_multi_path,omitempty"`
}

// Bounds of a connect timeout.
const (
	minConnect = 100 * time.Millisecond
	maxConnect = 2 * time.Minute
)

// Validate fills the default timeout.
func (d *Dial) Validate(at Path) error {
	var r report
	r.join(interfaceName(at.Key("bind_interface"), d.BindInterface))
	if a, err := netip.ParseAddr(d.Inet4BindAddress); d.Inet4BindAddress != "" && (err != nil || !a.Is4()) {
		r.add(at.Key("inet4_bind_address"), "is %q, must be an IPv4 address", short(d.Inet4BindAddress))
	}
	if a, err := netip.ParseAddr(d.Inet6BindAddress); d.Inet6BindAddress != "" && (err != nil || !a.Is6() || a.Is4In6()) {
		r.add(at.Key("inet6_bind_address"), "is %q, must be an IPv6 address", short(d.Inet6BindAddress))
	}
	fillDuration(&d.ConnectTimeout, constant.DialTimeout)
	r.join(durationIn(at.Key("connect_timeout"), d.ConnectTimeout, minConnect, maxConnect))
	return r.err()
}

// Remote is what every outbound to another proxy has: where that is, and how to get there.
type Remote struct {
	Server     string `json:"server"`
	ServerPort uint16 `json:"server_port"`
	Dial
}

// Validate fills defaults; server and port are required.
func (o *Remote) Validate(at Path) error {
	var r report
	r.join((&Server{o.Server, o.ServerPort}).Validate(at))
	r.join(o.Dial.Validate(at))
	return r.err()
}

// refusedDial is for all outbounds.
var refusedDial = map[string]refusal{
	"bind_address_no_port":    later(""),
	"detour":                  later("; an outbound dials its server itself"),
	"disable_tcp_keep_alive":  later("; connections are kept alive as the system does"),
	"domain_resolver":         never("heki resolves through dns; write dns.servers and dns.final"),
	"domain_strategy":         later("; write dns.strategy"),
	"fallback_delay":          later(""),
	"fallback_network_type":   never("a server has one kind of network"),
	"netns":                   later("; start heki inside the namespace"),
	"network_strategy":        never("a server has one kind of network"),
	"network_type":            never("a server has one kind of network"),
	"protect_path":            never("heki runs on servers"),
	"reuse_addr":              later(""),
	"tcp_keep_alive":          later("; connections are kept alive as the system does"),
	"tcp_keep_alive_interval": later("; connections are kept alive as the system does"),
	"udp_fragment":            later(""),
}

// refusedRemote is what sing-box's outbounds to proxies have beside that.
var refusedRemote = map[string]refusal{
	"bind":         {text: "is a direct outbound's; write bind_interface, inet4_bind_address or inet6_bind_address"},
	"multiplex":    later("; each connection is one to the server"),
	"udp_over_tcp": later(""),
}

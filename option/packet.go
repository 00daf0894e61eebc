package option

import (
	"slices"

	"heki/constant"
)

// Packet is what every inbound over UDP has beside Listen. A type with it embeds it after Stream.
type Packet struct {
	Network          Listable[string] `json:"network,omitempty"`            // tcp, udp; default both
	UDPProxyProtocol string           `json:"udp_proxy_protocol,omitempty"` // off (default), optional, required: a PROXY header version 2 in datagrams
}

// HasTCP reports whether the inbound listens on TCP.
func (p *Packet) HasTCP() bool { return p.has(constant.NetworkTCP) }

// HasUDP reports whether the inbound listens on UDP.
func (p *Packet) HasUDP() bool { return p.has(constant.NetworkUDP) }

func (p *Packet) has(network string) bool {
	return len(p.Network) == 0 || slices.Contains(p.Network, network)
}

// check has the bounds of what is written.
func (p *Packet) check(at Path) error {
	var r report
	for i, network := range p.Network {
		in := at.Key("network").item(i, len(p.Network))
		switch {
		case network != constant.NetworkTCP && network != constant.NetworkUDP:
			r.add(in, "is %q, must be tcp or udp", short(network))
		case slices.Contains(p.Network[:i], network):
			r.add(in, "names %s again", network)
		}
	}
	switch p.UDPProxyProtocol {
	case "", ProxyOff, ProxyOptional, ProxyRequired:
		return r.err()
	}
	r.add(at.Key("udp_proxy_protocol"), "is %q, must be off, optional or required", short(p.UDPProxyProtocol))
	return r.err()
}

// Validate reports every mistake at once. A setting of a network that is off is one.
func (p *Packet) Validate(at Path) error {
	var r report
	r.join(p.check(at))
	if p.UDPProxyProtocol != "" && p.UDPProxyProtocol != ProxyOff && !p.HasUDP() {
		r.add(at.Key("udp_proxy_protocol"), "is %q, but network leaves UDP out", p.UDPProxyProtocol)
	}
	return r.err()
}

package option

import (
	"slices"

	"heki/constant"
)

// Packet is what every inbound over UDP has beside Listen, and every outbound that carries UDP. A type
// with it embeds it after Stream or Remote.
type Packet struct {
	Network Listable[string] `json:"network,omitempty"` // tcp, udp; default both
}

// HasTCP reports whether TCP is served.
func (p *Packet) HasTCP() bool { return p.has(constant.NetworkTCP) }

// HasUDP reports whether UDP is served.
func (p *Packet) HasUDP() bool { return p.has(constant.NetworkUDP) }

func (p *Packet) has(network string) bool {
	return len(p.Network) == 0 || slices.Contains(p.Network, network)
}

// Validate reports every mistake at once.
func (p *Packet) Validate(at Path) error {
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
	return r.err()
}

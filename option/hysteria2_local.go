package option

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Hysteria2Local is what a panel does not say of a Hysteria 2 inbound.
type Hysteria2Local struct {
	// ListenPorts are more UDP ports that lead to listen_port, for clients that hop: 20000-30000, or as clients
	// of sing-box write it, 20000:30000.
	ListenPorts    Listable[string] `json:"listen_ports,omitempty"`
	Masquerade     *Masquerade      `json:"masquerade,omitempty"`      // what visitors find; default a web server without content
	MasqueradePort uint16           `json:"masquerade_port,omitempty"` // TCP port that serves the same site over HTTPS; 0 is none
	BBRProfile     string           `json:"bbr_profile,omitempty"`     // standard (default), conservative, aggressive
}

// PortRange is all ports from First to Last.
type PortRange struct{ First, Last uint16 }

// String is the way nftables writes it, too.
func (p PortRange) String() string {
	if p.First == p.Last {
		return strconv.Itoa(int(p.First))
	}
	return strconv.Itoa(int(p.First)) + "-" + strconv.Itoa(int(p.Last))
}

// Ports returns ListenPorts, valid ones, sorted and joined where they touch.
func (h *Hysteria2Local) Ports() []PortRange {
	var all []PortRange
	for _, text := range h.ListenPorts {
		for part := range strings.SplitSeq(text, ",") {
			if p, ok := parsePorts(part); ok {
				all = append(all, p)
			}
		}
	}
	slices.SortFunc(all, func(a, b PortRange) int { return cmp.Compare(a.First, b.First) })
	var joined []PortRange
	for _, p := range all {
		if n := len(joined); n > 0 && int(p.First) <= int(joined[n-1].Last)+1 {
			joined[n-1].Last = max(joined[n-1].Last, p.Last)
			continue
		}
		joined = append(joined, p)
	}
	return joined
}

// Clone shares nothing with h.
func (h *Hysteria2Local) Clone() Hysteria2Local {
	c := *h
	c.ListenPorts = slices.Clone(h.ListenPorts)
	if h.Masquerade != nil {
		c.Masquerade = new(*h.Masquerade)
		c.Masquerade.Headers = maps.Clone(h.Masquerade.Headers)
	}
	return c
}

// Validate reports every mistake at once.
func (h *Hysteria2Local) Validate(at Path) error {
	var r report
	for i, text := range h.ListenPorts {
		for part := range strings.SplitSeq(text, ",") {
			if _, ok := parsePorts(part); !ok {
				r.add(at.Key("listen_ports").Index(i), "is %q, must be ports or ranges of ports, 1 to 65535, such as 20000-30000", short(text))
				break
			}
		}
	}
	if h.Masquerade != nil {
		r.join(h.Masquerade.Validate(at.Key("masquerade")))
	}
	if h.BBRProfile != "" {
		r.join(oneOf(at.Key("bbr_profile"), h.BBRProfile, "standard", "conservative", "aggressive"))
	}
	return r.err()
}

// parsePorts reads 443, 20000-30000 or 20000:30000.
func parsePorts(text string) (PortRange, bool) {
	first, last, several := strings.Cut(strings.ReplaceAll(strings.TrimSpace(text), ":", "-"), "-")
	if !several {
		last = first
	}
	a, errA := strconv.ParseUint(first, 10, 16)
	b, errB := strconv.ParseUint(last, 10, 16)
	return PortRange{uint16(a), uint16(b)}, errA == nil && errB == nil && 0 < a && a <= b
}

package direct

import (
	"errors"
	"net/netip"
)

var (
	errNoIPv4 = errors.New("the name has no IPv4 address, or dns.strategy leaves it out")
	errNoIPv6 = errors.New("the name has no IPv6 address, or dns.strategy leaves it out")
)

// pick returns those of a name's addresses that a domain_strategy takes, in the order to try them. addrs
// stays as it is.
func pick(strategy string, addrs []netip.Addr) ([]netip.Addr, error) {
	switch strategy {
	case "ipv4_first":
		return append(family(addrs, true), family(addrs, false)...), nil
	case "ipv6_first":
		return append(family(addrs, false), family(addrs, true)...), nil
	case "ipv4_only":
		if addrs = family(addrs, true); len(addrs) == 0 {
			return nil, errNoIPv4
		}
	case "ipv6_only":
		if addrs = family(addrs, false); len(addrs) == 0 {
			return nil, errNoIPv6
		}
	}
	return addrs, nil
}

func family(addrs []netip.Addr, v4 bool) []netip.Addr {
	some := make([]netip.Addr, 0, len(addrs))
	for _, a := range addrs {
		if a.Is4() == v4 {
			some = append(some, a)
		}
	}
	return some
}

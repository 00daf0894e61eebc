package rule

import "net/netip"

// privateNets are the destinations that forbid_private_ip refuses: everything that is not the public
// Internet and may be the node's own host, network or cloud metadata. Source: the IANA special-purpose
// address registries, RFC 6890.
var privateNets = newPrivateNets(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "224.0.0.0/3",
	"::/127", "64:ff9b:1::/48", "100::/64", "2001:db8::/32", "fc00::/7", "fe80::/9", "ff00::/8",
)

func newPrivateNets(prefixes ...string) addrTable {
	list := make([]addrLine, len(prefixes))
	for i, prefix := range prefixes {
		list[i] = addrLine{netip.MustParsePrefix(prefix), int32(i)}
	}
	return newAddrTable(list)
}

// isPrivate says whether addr is not public. IPv4 inside IPv6, where a translator or tunnel of the
// host could take it out again, counts as that IPv4 address.
func isPrivate(addr netip.Addr) bool {
	addr = plainAddr(addr)
	if inner, ok := embedded(addr); ok {
		return privateNets.find(inner) != none
	}
	return privateNets.find(addr) != none
}

// embedded returns the IPv4 address in NAT64 (RFC 6052: 64:ff9b::/96), 6to4 (RFC 3056: 2002::/16) and
// IPv4-compatible (RFC 4291 §2.5.5.1: ::/96) addresses.
func embedded(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	b := addr.As16()
	if b[0] == 0x20 && b[1] == 0x02 {
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	for _, c := range b[4:12] {
		if c != 0 {
			return netip.Addr{}, false
		}
	}
	head := [4]byte(b[:4])
	if head != ([4]byte{0, 0x64, 0xff, 0x9b}) && head != ([4]byte{}) {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(b[12:])), true
}

// private says whether the destination, or any address it resolved to, is not public.
func (s *subject) private() bool {
	if s.addr.IsValid() && isPrivate(s.addr) {
		return true
	}
	for _, addr := range s.md.Addresses {
		if isPrivate(addr) {
			return true
		}
	}
	return false
}

package meter

import (
	"net/netip"
	"time"
)

// maxAddrs bounds the addresses remembered of one user without open connections: an account without
// an IP limit on an IPv6 /64 could otherwise fill memory with one short connection per address.
const maxAddrs = 1024

// addrUse is one source address of a user.
type addrUse struct {
	open int   // connections open from it
	seen int64 // when the last of them closed, in nanoseconds since the epoch; meaningful while open is 0
}

// addrSet is the addresses a user counts with: those with open connections and those whose last
// connection closed less than the expiry ago. The zero value is empty. Its owner's lock guards it.
type addrSet map[netip.Addr]addrUse

// admits tells whether addr may be added under limit (0 is unlimited) beside elsewhere addresses that are
// not in the set, and how many are in use together. What is expired is dropped first.
func (s addrSet) admits(addr netip.Addr, limit, elsewhere int, now int64, expiry time.Duration) (inUse int, ok bool) {
	if limit <= 0 || s.has(addr, now, expiry) {
		return len(s), true
	}
	if len(s)+elsewhere >= limit {
		s.sweep(now, expiry)
	}
	return len(s) + elsewhere, len(s)+elsewhere < limit
}

// has tells whether addr counts now.
func (s addrSet) has(addr netip.Addr, now int64, expiry time.Duration) bool {
	use, ok := s[addr]
	return ok && !use.expired(now, expiry)
}

// open notes one more connection from addr. keep is how many addresses may be remembered; beyond it
// the one idle for longest is forgotten. Addresses with open connections always stay.
func (s *addrSet) open(addr netip.Addr, keep int, now int64, expiry time.Duration) {
	if *s == nil {
		*s = make(addrSet, 1)
	}
	if _, known := (*s)[addr]; !known && len(*s) >= keep {
		s.sweep(now, expiry)
		if len(*s) >= keep {
			s.dropOldest()
		}
	}
	use := (*s)[addr]
	use.open++
	(*s)[addr] = use
}

// close notes that one connection from addr ended.
func (s addrSet) close(addr netip.Addr, now int64) {
	use := s[addr]
	use.open--
	use.seen = now
	s[addr] = use
}

// sweep drops what is expired.
func (s addrSet) sweep(now int64, expiry time.Duration) {
	for addr, use := range s {
		if use.expired(now, expiry) {
			delete(s, addr)
		}
	}
}

// dropOldest forgets the address that has been idle for longest, if any is idle.
func (s addrSet) dropOldest() {
	var oldest netip.Addr
	found := false
	for addr, use := range s {
		if use.open == 0 && (!found || use.seen < s[oldest].seen) {
			oldest, found = addr, true
		}
	}
	if found {
		delete(s, oldest)
	}
}

func (u addrUse) expired(now int64, expiry time.Duration) bool {
	return u.open == 0 && now-u.seen >= int64(expiry)
}

// fold maps addr to the address its prefix counts as. An IPv4 address inside IPv6 is IPv4, a zone is
// dropped. The zero Addr stays as it is: connections without a known source count as one address.
func (l *Limits) fold(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	bits := l.CIDRv6
	if addr.Is4() {
		bits = l.CIDRv4
	}
	if bits <= 0 || bits >= addr.BitLen() {
		return addr
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return addr
	}
	return prefix.Addr()
}

package rule

import (
	"cmp"
	"net/netip"
	"slices"
)

// addrTable holds ip: rules as a sorted list of disjoint ranges: one binary search, however the
// prefixes nest. IPv4 sorts before IPv6, as netip.Addr compares.
type addrTable struct {
	starts []netip.Addr // where a range begins; it ends where the next begins
	lines  []int32      // the first line that holds in the range, or none
}

type addrLine struct {
	prefix netip.Prefix // masked, IPv4 unmapped
	line   int32
}

func (t *addrTable) empty() bool { return len(t.starts) == 0 }

// find returns the first line that holds addr, which is unmapped and has no zone.
func (t *addrTable) find(addr netip.Addr) int32 {
	low, high := 0, len(t.starts)
	for low < high { // the first range that begins after addr
		mid := int(uint(low+high) >> 1)
		if addr.Less(t.starts[mid]) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	if low == 0 {
		return none
	}
	return t.lines[low-1]
}

func newAddrTable(list []addrLine) addrTable {
	slices.SortFunc(list, func(a, b addrLine) int {
		return cmp.Or(a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()))
	})
	var b addrBuilder
	for _, at := range list {
		b.closeBefore(at.prefix.Addr())
		b.open = append(b.open, openPrefix{lastAddr(at.prefix), min(at.line, b.current())})
		b.emit(at.prefix.Addr(), b.current())
	}
	b.closeBefore(netip.Addr{})
	return b.table
}

// addrBuilder sweeps over sorted prefixes; open holds those that enclose the current address.
type addrBuilder struct {
	table addrTable
	open  []openPrefix
}

type openPrefix struct {
	last netip.Addr
	line int32 // the first line of this prefix and those around it
}

func (b *addrBuilder) current() int32 {
	if len(b.open) == 0 {
		return none
	}
	return b.open[len(b.open)-1].line
}

// closeBefore ends the prefixes that lie wholly before addr; all of them when addr is not valid.
func (b *addrBuilder) closeBefore(addr netip.Addr) {
	for len(b.open) > 0 {
		last := b.open[len(b.open)-1].last
		if addr.IsValid() && !last.Less(addr) {
			return
		}
		b.open = b.open[:len(b.open)-1]
		next := last.Next()
		if !next.IsValid() && last.Is4() {
			next = netip.IPv6Unspecified() // what comes after 255.255.255.255
		}
		if next.IsValid() {
			b.emit(next, b.current())
		}
	}
}

func (b *addrBuilder) emit(start netip.Addr, line int32) {
	t := &b.table
	if n := len(t.starts); n > 0 && t.starts[n-1] == start {
		t.lines[n-1] = line
		return
	}
	t.starts = append(t.starts, start)
	t.lines = append(t.lines, line)
}

// lastAddr returns the last address of p.
func lastAddr(p netip.Prefix) netip.Addr {
	if p.Addr().Is4() {
		b := p.Addr().As4()
		fillHost(b[:], p.Bits())
		return netip.AddrFrom4(b)
	}
	b := p.Addr().As16()
	fillHost(b[:], p.Bits())
	return netip.AddrFrom16(b)
}

func fillHost(b []byte, bits int) {
	for i := range b {
		switch {
		case bits >= 8:
			bits -= 8
		default:
			b[i] |= 0xff >> bits
			bits = 0
		}
	}
}

// parsePrefix reads an address or a CIDR, in which host bits may be set.
func parsePrefix(s string) (netip.Prefix, bool) {
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = plainAddr(addr)
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}

package rule

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync/atomic"
)

// Addresses is a list of addresses that many sets share. What it holds can be replaced while it is in
// use; the zero value holds nothing.
type Addresses struct{ list atomic.Pointer[area] }

// Set puts the addresses in prefixes in the place of what a held. IPv4 inside ::ffff:0:0/96 is IPv4.
func (a *Addresses) Set(prefixes []netip.Prefix) { a.list.Store(newArea(prefixes)) }

// Take puts what other holds in the place of what a held.
func (a *Addresses) Take(other *Addresses) { a.list.Store(other.list.Load()) }

// area is a set of addresses as sorted bounds: from an even bound up to the next, odd one, addresses
// are inside. A country of 10 000 networks takes 80 KB, a third of an address table.
type area struct {
	v4 []uint32
	v6 []bound6
}

type bound6 struct{ high, low uint64 }

// newArea lets the address table sort and join what overlaps.
func newArea(prefixes []netip.Prefix) *area {
	lines := make([]addrLine, 0, len(prefixes))
	for _, p := range prefixes {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if p = p.Masked(); p.IsValid() {
			lines = append(lines, addrLine{p, 0})
		}
	}
	table := newAddrTable(lines)
	a := new(area)
	for i, start := range table.starts {
		inside := table.lines[i] != none
		if start.Is4() {
			if inside != (len(a.v4)%2 == 1) {
				a.v4 = append(a.v4, bits4(start))
			}
		} else if inside != (len(a.v6)%2 == 1) {
			a.v6 = append(a.v6, bits6(start))
		}
	}
	a.v4, a.v6 = slices.Clip(a.v4), slices.Clip(a.v6)
	return a
}

// has says whether addr, which is unmapped, is inside.
func (a *area) has(addr netip.Addr) bool {
	var n int
	var found bool
	switch {
	case a == nil:
		return false
	case addr.Is4():
		n, found = slices.BinarySearch(a.v4, bits4(addr))
	default:
		n, found = slices.BinarySearchFunc(a.v6, bits6(addr), compare6)
	}
	if found {
		n++
	}
	return n%2 == 1
}

func bits4(addr netip.Addr) uint32 {
	b := addr.As4()
	return binary.BigEndian.Uint32(b[:])
}

func bits6(addr netip.Addr) bound6 {
	b := addr.As16()
	return bound6{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func compare6(a, b bound6) int { return cmp.Or(cmp.Compare(a.high, b.high), cmp.Compare(a.low, b.low)) }

package geo

import (
	"fmt"
	"net/netip"

	"google.golang.org/protobuf/encoding/protowire"

	"heki/route/rule"
)

// addresses implements finder.
func (d *dat) addresses(code string) (*rule.Addresses, []string, error) {
	var prefixes []netip.Prefix
	known, err := d.items(code, func(item []byte) error {
		p, err := parseCIDR(item)
		prefixes = append(prefixes, p)
		return err
	})
	if err != nil {
		return nil, known, err
	}
	list := new(rule.Addresses)
	list.Set(prefixes)
	return list, nil, nil
}

// parseCIDR decodes a CIDR message.
func parseCIDR(b []byte) (netip.Prefix, error) {
	var addr netip.Addr
	var bits uint64
	err := eachField(b, func(field protowire.Number, number uint64, text []byte) error {
		switch field {
		case fieldIP:
			addr, _ = netip.AddrFromSlice(text)
		case fieldPrefix:
			bits = number
		}
		return nil
	})
	if err != nil {
		return netip.Prefix{}, err
	}
	if !addr.IsValid() || bits > uint64(addr.BitLen()) {
		return netip.Prefix{}, fmt.Errorf("%w: an address of %d bits with a prefix of %d", ErrDamaged, addr.BitLen(), bits)
	}
	return netip.PrefixFrom(addr, int(bits)), nil
}

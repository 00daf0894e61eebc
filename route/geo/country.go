package geo

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/oschwald/maxminddb-golang"

	"heki/route/rule"
)

// country is a MaxMind DB with a country for each network. It is read for each list and not kept:
// 8 MB for the few lists that are in use would be much.
type country struct{ path string }

func (c *country) name() string { return c.path }

// addresses implements finder.
func (c *country) addresses(code string) (*rule.Addresses, []string, error) {
	file, err := os.Open(c.path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(data) > maxFile {
		return nil, nil, fmt.Errorf("has more than %d bytes", maxFile)
	}
	prefixes, known, err := networks(data, code)
	if err != nil {
		return nil, nil, err
	}
	if len(prefixes) == 0 {
		return nil, known, errNoList
	}
	list := new(rule.Addresses)
	list.Set(prefixes)
	return list, nil, nil
}

// place is where in the file a record says where its networks are, and where they are registered: the
// networks of a country share these.
type place struct {
	Country    uintptr `maxminddb:"country"`
	Registered uintptr `maxminddb:"registered_country"`
}

// networks returns the networks of the country with a code in lower case, and all codes. A network that is
// nowhere counts where it is registered.
func networks(data []byte, code string) (prefixes []netip.Prefix, known []string, err error) {
	defer func() {
		if r := recover(); r != nil { // the library trusts the tree
			prefixes, known, err = nil, nil, fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	db, err := maxminddb.FromBytes(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	codes := map[uintptr]string{maxminddb.NotFound: ""}
	codeAt := func(at uintptr) (string, error) {
		text, ok := codes[at]
		if ok {
			return text, nil
		}
		var named struct {
			Code string `maxminddb:"iso_code"`
		}
		err := db.Decode(at, &named)
		codes[at] = strings.ToLower(named.Code)
		return codes[at], err
	}
	all := db.Networks(maxminddb.SkipAliasedNetworks)
	for all.Next() {
		at := place{maxminddb.NotFound, maxminddb.NotFound}
		network, err := all.Network(&at)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		country, err := codeAt(at.Country)
		registered, err2 := codeAt(at.Registered)
		if err := errors.Join(err, err2); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if cmp.Or(country, registered) != code {
			continue
		}
		addr, _ := netip.AddrFromSlice(network.IP)
		bits, _ := network.Mask.Size()
		prefixes = append(prefixes, netip.PrefixFrom(addr, bits))
	}
	if err := all.Err(); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	known = slices.Compact(slices.Sorted(maps.Values(codes)))
	return prefixes, slices.DeleteFunc(known, func(code string) bool { return code == "" }), nil
}

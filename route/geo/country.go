package geo

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"

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

// networks returns the networks of the country with a code in lower case, and all codes.
func networks(data []byte, code string) (prefixes []netip.Prefix, known []string, err error) {
	t, err := openTree(data)
	if err != nil {
		return nil, nil, err
	}
	codes := make(map[uint64]string) // by record: a country's networks share one
	err = t.walk(func(p netip.Prefix, record uint64) error {
		is, ok := codes[record]
		if !ok {
			if is, err = t.codeOf(record); err != nil {
				return err
			}
			codes[record] = is
		}
		if is == code {
			prefixes = append(prefixes, p)
		}
		return nil
	})
	known = slices.Compact(slices.Sorted(maps.Values(codes)))
	return prefixes, slices.DeleteFunc(known, func(code string) bool { return code == "" }), err
}

// codeOf returns the country of a record, in lower case: where the network is, else where it is
// registered; "" when neither is said.
func (t *tree) codeOf(record uint64) (string, error) {
	at := record - t.count - separator
	for _, key := range []string{"country", "registered_country"} {
		place, ok, err := t.data.member(at, key)
		if err != nil {
			return "", err
		}
		if !ok {
			continue
		}
		code, ok, err := t.data.member(place, "iso_code")
		if err != nil {
			return "", err
		}
		if !ok {
			continue
		}
		text, err := t.data.text(code)
		if text != "" || err != nil {
			return strings.ToLower(text), err
		}
	}
	return "", nil
}

package geo

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"heki/route/rule"
)

// Fields of v2fly's messages. Source: app/router/config.proto of v2ray-core and Xray-core.
const (
	fieldEntry     = 1 // GeoSiteList, GeoIPList
	fieldCode      = 1 // GeoSite, GeoIP: country_code
	fieldItem      = 2 // GeoSite: domain; GeoIP: cidr
	fieldType      = 1 // Domain
	fieldValue     = 2
	fieldAttribute = 3
	fieldKey       = 1 // Domain.Attribute
	fieldIP        = 1 // CIDR
	fieldPrefix    = 2
)

// The types of a Domain.
const (
	typePlain = iota
	typeRegex
	typeDomain
	typeFull
)

// parseSite takes "google@ads@cn" apart.
func parseSite(name string) (code string, attributes []string, err error) {
	parts := strings.Split(name, "@")
	if slices.Contains(parts, "") {
		return "", nil, errors.New("needs a list, and an attribute behind each @: geosite:google or geosite:google@ads")
	}
	return parts[0], parts[1:], nil
}

// domains reads the list called code, and of it only the domains that have every attribute. The error
// is errNoList when there is none, and known are then the lists that are there; it is errNoDomain when no
// domain has the attributes, and known are then those of the list.
func (d *dat) domains(code string, attributes []string) (entries rule.DomainEntries, known []string, err error) {
	var seen []string // attributes
	kept := 0
	known, err = d.items(code, func(item []byte) error {
		kind, value, has, err := parseDomain(item)
		if err != nil {
			return err
		}
		for _, a := range has {
			if !slices.Contains(seen, a) && len(seen) < maxAttributes {
				seen = append(seen, a)
			}
		}
		for _, a := range attributes {
			if !slices.Contains(has, a) {
				return nil
			}
		}
		kept++
		switch kind {
		case typePlain:
			entries.Keywords = append(entries.Keywords, value)
		case typeRegex:
			entries.Exprs = append(entries.Exprs, value)
		case typeDomain:
			entries.Suffixes = append(entries.Suffixes, value)
		case typeFull:
			entries.Full = append(entries.Full, value)
		default:
			return fmt.Errorf("%w: a domain of the unknown type %d in the list %s", ErrDamaged, kind, code)
		}
		return nil
	})
	if err == nil && kept == 0 && len(attributes) > 0 {
		slices.Sort(seen)
		return entries, seen, errNoDomain
	}
	return entries, known, err
}

// errNoDomain is a list without a domain that has the attributes in question.
var errNoDomain = errors.New("no domain with these attributes")

// maxAttributes bounds what a message names; v2fly has three.
const maxAttributes = 32

// parseDomain decodes a Domain message. Attributes are in lower case; whatever value one has, it is
// there, as in Xray.
func parseDomain(b []byte) (kind uint64, value string, attributes []string, err error) {
	err = eachField(b, func(field protowire.Number, number uint64, text []byte) error {
		switch field {
		case fieldType:
			kind = number
		case fieldValue:
			value = string(text)
		case fieldAttribute:
			return eachField(text, func(field protowire.Number, _ uint64, text []byte) error {
				if field == fieldKey {
					attributes = append(attributes, strings.ToLower(string(text)))
				}
				return nil
			})
		}
		return nil
	})
	return kind, value, attributes, err
}

// eachField calls f for the fields of a message: with number for a varint, else with text. Fields of
// other types are passed over. text is part of b.
func eachField(b []byte, f func(field protowire.Number, number uint64, text []byte) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", ErrDamaged, protowire.ParseError(n))
		}
		b = b[n:]
		var number uint64
		var text []byte
		switch kind {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return fmt.Errorf("%w: %w", ErrDamaged, protowire.ParseError(n))
		}
		b = b[n:]
		if kind != protowire.VarintType && kind != protowire.BytesType {
			continue
		}
		if err := f(field, number, text); err != nil {
			return err
		}
	}
	return nil
}

package rule

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"heki/adapter"
)

// oracle matches one line the slow and obvious way.
func oracle(line string, md *adapter.Metadata) bool {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return false
	}
	if line == "*" {
		return true
	}
	kind, value, ok := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	if !ok {
		kind, value = "keyword", line
	}
	switch kind {
	case "ip":
		return oracleIP(value, md)
	case "port":
		list, _ := parsePorts(value, 0)
		for _, r := range list {
			if r.from <= md.Destination.Port && md.Destination.Port <= r.to {
				return true
			}
		}
		return false
	case "protocol", "network", "node_id":
		for word := range strings.SplitSeq(value, ",") {
			word = strings.TrimSpace(word)
			lower := strings.ToLower(word)
			if kind == "protocol" && lower == md.Protocol || kind == "network" && lower == md.Network {
				return true
			}
			if part := strings.Split(md.Inbound, "/"); kind == "node_id" && len(part) >= 3 && part[0] == "panel" && part[len(part)-1] == word {
				return true
			}
		}
		return false
	case "user":
		return md.User != nil && (md.User.Name == value || md.User.ID != 0 && strconv.FormatInt(md.User.ID, 10) == value)
	case "node":
		i := strings.LastIndex(value, ":")
		return md.Inbound == "panel/"+value[:i]+"/"+value[i+1:]
	case "inbound":
		return md.Inbound == value
	}
	return oracleName(kind, value, md)
}

func oracleIP(value string, md *adapter.Metadata) bool {
	p, ok := parsePrefix(value)
	if !ok {
		return false
	}
	list := append([]netip.Addr{md.Destination.Addr}, md.Addresses...)
	if addr, err := netip.ParseAddr(md.Destination.Fqdn); err == nil {
		list = append(list, addr)
	}
	for _, addr := range list {
		if addr.IsValid() && p.Contains(addr.Unmap().WithZone("")) {
			return true
		}
	}
	return false
}

func oracleName(kind, value string, md *adapter.Metadata) bool {
	for _, name := range []string{md.Destination.Fqdn, md.Domain} {
		if _, err := netip.ParseAddr(name); err == nil && name == md.Destination.Fqdn {
			continue
		}
		name = strings.TrimRight(lowerASCII(name), ".")
		if name == "" {
			continue
		}
		lower := strings.ToLower(value)
		hit := false
		switch kind {
		case "keyword":
			hit = strings.Contains(name, lower)
		case "full":
			hit = name == strings.Trim(lower, ".")
		case "domain":
			lower = strings.Trim(lower, ".")
			hit = name == lower || strings.HasSuffix(name, "."+lower)
		case "regexp":
			if value != strings.ToLower(value) {
				value = "(?i)" + value
			}
			hit = regexp.MustCompile(value).MatchString(name)
		}
		if hit {
			return true
		}
	}
	return false
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

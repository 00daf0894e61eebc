package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

const (
	maxName  = 253 // RFC 1035 §2.3.4, without the root
	maxLabel = 63
)

var errNoLiteral = errors.New("not an address")

// literal reads a host that is an address. It looks before it parses: errors of the parser allocate.
func literal(host string) (netip.Addr, error) {
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	if strings.IndexByte(host, ':') < 0 {
		for i := range len(host) {
			if c := host[i]; c != '.' && (c < '0' || c > '9') {
				return netip.Addr{}, errNoLiteral
			}
		}
	}
	addr, err := netip.ParseAddr(host)
	return addr.Unmap(), err
}

// normalise returns host in lower case and without a trailing dot. What cannot be a name is refused
// here and asked of nobody; so are the old ways to write an IPv4 address (0x7f.1, 2130706433), which
// some resolvers would turn into one behind the back of the rules.
func normalise(host string) (string, error) {
	name := strings.TrimSuffix(host, ".")
	if name == "" || len(name) > maxName {
		return "", badName(host)
	}
	start, upper := 0, false
	for i := 0; i <= len(name); i++ {
		if i == len(name) || name[i] == '.' {
			if i == start || i-start > maxLabel {
				return "", badName(host)
			}
			if i < len(name) {
				start = i + 1
			}
			continue
		}
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case 'A' <= c && c <= 'Z':
			upper = true
		default:
			return "", badName(host)
		}
	}
	if last := name[start:]; isNumber(last) { // RFC 3696 §2: the last label is never a number
		return "", badName(host)
	}
	if upper {
		name = strings.ToLower(name)
	}
	return name, nil
}

func badName(host string) error {
	const most = 80
	if len(host) > most {
		host = host[:most]
	}
	return fmt.Errorf("%w: %q is not a domain name", ErrNoHost, host)
}

// isNumber says whether s is a decimal or, after 0x, a hexadecimal number.
func isNumber(s string) bool {
	digits := "0123456789"
	if len(s) > 1 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		s, digits = s[2:], "0123456789abcdefABCDEF"
	}
	return strings.Trim(s, digits) == ""
}

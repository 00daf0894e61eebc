package rule

import (
	"net/netip"
	"strings"
	"unicode"

	"heki/adapter"
)

// maxName is the longest domain that is looked at. Protocols carry at most 255 bytes; of a longer
// one, which no resolver knows, the end counts.
const maxName = 255

// subject is what sets look at, normalised once per decision. It lives on the stack.
type subject struct {
	md      *adapter.Metadata
	addr    netip.Addr // destination address, also when it came written as a domain
	count   int        // names in use
	size    [2]uint8
	text    [2]string // the name without trailing dots, as it came
	upper   [2]bool   // text is not in lower case
	foreign [2]bool   // text has bytes outside ASCII
	bytes   [2][maxName]byte
}

func (s *subject) fill(md *adapter.Metadata) {
	s.md = md
	if md.Destination.Addr.IsValid() {
		s.addr = plainAddr(md.Destination.Addr)
	}
	if fqdn := md.Destination.Fqdn; fqdn != "" {
		if addr, ok := literal(fqdn); ok {
			s.addr = addr // a client may write an address as a domain to slip past ip rules
		} else {
			s.addName(fqdn)
		}
	}
	if md.Domain != "" && md.Domain != md.Destination.Fqdn {
		s.addName(md.Domain)
	}
}

func (s *subject) addName(name string) {
	for name != "" && name[len(name)-1] == '.' {
		name = name[:len(name)-1]
	}
	if name == "" {
		return
	}
	if len(name) > maxName {
		name = name[len(name)-maxName:]
	}
	i := s.count
	s.count++
	s.text[i], s.size[i] = name, uint8(len(name))
	buf := s.bytes[i][:len(name)]
	for j := range buf {
		c := name[j]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
			s.upper[i] = true
		}
		if c > unicode.MaxASCII {
			s.foreign[i] = true
		}
		buf[j] = c
	}
}

// name returns name i in lower case.
func (s *subject) name(i int) []byte { return s.bytes[i][:s.size[i]] }

// lower is name as a string.
func (s *subject) lower(i int) string {
	if !s.upper[i] {
		return s.text[i]
	}
	return string(s.name(i))
}

// literal reads an address that was written as a domain. It looks before it parses, because the
// parser's errors allocate.
func literal(s string) (netip.Addr, bool) {
	if strings.IndexByte(s, ':') < 0 {
		for i := range len(s) {
			if c := s[i]; c != '.' && (c < '0' || c > '9') {
				return netip.Addr{}, false
			}
		}
	}
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, false
	}
	return plainAddr(addr), true
}

// plainAddr removes what must not make two addresses differ: a zone, and IPv4 mapped into IPv6.
func plainAddr(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return addr
	}
	return addr.Unmap().WithZone("")
}

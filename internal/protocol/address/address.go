// Package address encodes and decodes the binary socket addresses of proxy protocols: V-ADDR (VMess,
// VLESS, Mux.Cool), S-ADDR (SOCKS5, Trojan), P-ADDR (packetaddr) and U-ADDR (UDP over TCP). Their type
// bytes and orders differ; protocols.md §0.1 has the table.
//
// A parsed address is either an IP or a host name, never both. IPv4 in IPv6 comes out as IPv4, and a
// host name that is an IP literal comes out as that IP, so that rules by IP cannot be bypassed.
package address

import (
	"bytes"
	"fmt"
	"net/netip"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/wire"
)

// Encoded sizes in bytes.
const (
	MaxHost = 255                 // a host name, by its one length byte
	Max     = 1 + 1 + MaxHost + 2 // a whole V-ADDR or S-ADDR
	MaxP    = 1 + 16 + 2          // a whole P-ADDR
)

// Parse errors. ErrShort means that more bytes may make it valid; the others are final.
var (
	ErrShort = wire.ErrShort
	errType  = fmt.Errorf("%w: unknown address type", wire.ErrBadRequest)
	errHost  = fmt.Errorf("%w: host name is empty or has a forbidden character", wire.ErrBadRequest)
)

// kind is what an address type byte means.
type kind uint8

const (
	none kind = iota
	ipv4
	host
	ipv6
)

// Type bytes by format: the index is the byte on the wire.
var (
	vKinds = [...]kind{1: ipv4, 2: host, 3: ipv6}
	sKinds = [...]kind{1: ipv4, 3: host, 4: ipv6}
	pKinds = [...]kind{1: ipv4, 2: ipv6}
	uKinds = [...]kind{0: ipv4, 1: ipv6, 2: host}
)

// Type bytes by format: the index is the kind.
var (
	vTypes = [...]byte{ipv4: 1, host: 2, ipv6: 3}
	sTypes = [...]byte{ipv4: 1, host: 3, ipv6: 4}
	pTypes = [...]byte{ipv4: 1, ipv6: 2}
	uTypes = [...]byte{ipv4: 0, host: 2, ipv6: 1}
)

// ParseV decodes the V-ADDR at the start of b and returns its length in bytes. It keeps no reference
// to b. While b is only a prefix the error is ErrShort; every other error is final.
//
//	| port u16be | type 1: IPv4 4, 2: length u8 + host, 3: IPv6 16 |
//
// hint is a host name from an earlier call or "": a host equal to it is not allocated again.
func ParseV(b []byte, hint string) (M.Socksaddr, int, error) {
	if len(b) < 3 {
		return M.Socksaddr{}, 0, ErrShort
	}
	addr, n, err := parseHost(b[2:], vKinds[:], hint)
	if err != nil {
		return M.Socksaddr{}, 0, err
	}
	addr.Port = uint16(b[0])<<8 | uint16(b[1])
	return addr, 2 + n, nil
}

// ParseS decodes the S-ADDR at the start of b; see ParseV.
//
//	| type 1: IPv4 4, 3: length u8 + host, 4: IPv6 16 | port u16be |
func ParseS(b []byte, hint string) (M.Socksaddr, int, error) {
	return parseTail(b, sKinds[:], hint)
}

// ParseP decodes the P-ADDR at the start of b; see ParseV. It is always an IP.
//
//	| type 1: IPv4 4, 2: IPv6 16 | port u16be |
func ParseP(b []byte) (M.Socksaddr, int, error) {
	return parseTail(b, pKinds[:], "")
}

// ParseU decodes the U-ADDR at the start of b; see ParseV.
//
//	| type 0: IPv4 4, 1: IPv6 16, 2: length u8 + host | port u16be |
func ParseU(b []byte, hint string) (M.Socksaddr, int, error) {
	return parseTail(b, uKinds[:], hint)
}

func parseTail(b []byte, kinds []kind, hint string) (M.Socksaddr, int, error) {
	addr, n, err := parseHost(b, kinds, hint)
	if err != nil {
		return M.Socksaddr{}, 0, err
	}
	if len(b) < n+2 {
		return M.Socksaddr{}, 0, ErrShort
	}
	addr.Port = uint16(b[n])<<8 | uint16(b[n+1])
	return addr, n + 2, nil
}

// parseHost decodes type and host at the start of b.
func parseHost(b []byte, kinds []kind, hint string) (M.Socksaddr, int, error) {
	if len(b) == 0 {
		return M.Socksaddr{}, 0, ErrShort
	}
	k := none
	if int(b[0]) < len(kinds) {
		k = kinds[b[0]]
	}
	switch k {
	case ipv4:
		if len(b) < 1+4 {
			return M.Socksaddr{}, 0, ErrShort
		}
		return M.Socksaddr{Addr: netip.AddrFrom4([4]byte(b[1:5]))}, 1 + 4, nil
	case ipv6:
		if len(b) < 1+16 {
			return M.Socksaddr{}, 0, ErrShort
		}
		return M.Socksaddr{Addr: netip.AddrFrom16([16]byte(b[1:17])).Unmap()}, 1 + 16, nil
	case host:
		return parseName(b, hint)
	}
	return M.Socksaddr{}, 0, errType
}

// parseName decodes a host name: type, length, bytes.
func parseName(b []byte, hint string) (M.Socksaddr, int, error) {
	if len(b) < 2 {
		return M.Socksaddr{}, 0, ErrShort
	}
	n := 2 + int(b[1])
	if n == 2 {
		return M.Socksaddr{}, 0, errHost
	}
	if len(b) < n {
		if !possible(b[2:]) {
			return M.Socksaddr{}, 0, errHost
		}
		return M.Socksaddr{}, 0, ErrShort
	}
	name := b[2:n]
	if hint != "" && string(name) == hint {
		return M.Socksaddr{Fqdn: hint}, n, nil
	}
	if ip, ok := parseLiteral(name); ok {
		return M.Socksaddr{Addr: ip}, n, nil
	}
	for _, c := range name {
		if !hostByte[c] {
			return M.Socksaddr{}, 0, errHost
		}
	}
	return M.Socksaddr{Fqdn: string(name)}, n, nil
}

// hostByte is [A-Za-z0-9-._], what Xray allows in a host name. The underscore is not DNS, but used.
var hostByte = func() (t [256]bool) {
	for c := byte('0'); c <= '9'; c++ {
		t[c] = true
	}
	for c := byte('a'); c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	t['-'], t['.'], t['_'] = true, true, true
	return t
}()

// possible reports whether b can be the start of a host name or of an IP literal.
func possible(b []byte) bool {
	for _, c := range b {
		if !hostByte[c] && c != ':' && c != '[' && c != ']' {
			return false
		}
	}
	return true
}

// parseLiteral decodes the text form of an IP, for IPv6 in brackets or not.
func parseLiteral(b []byte) (netip.Addr, bool) {
	if bytes.IndexByte(b, ':') >= 0 {
		if n := len(b); b[0] == '[' && b[n-1] == ']' {
			b = b[1 : n-1]
		}
	} else if c := b[len(b)-1]; c < '0' || c > '9' {
		return netip.Addr{}, false // most host names: no top-level domain ends in a digit
	}
	ip, err := netip.ParseAddr(string(b))
	if err != nil || ip.Zone() != "" {
		return netip.Addr{}, false
	}
	return ip.Unmap(), true
}

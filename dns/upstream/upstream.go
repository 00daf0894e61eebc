// Package upstream asks DNS servers for addresses: over UDP, over TCP, or through the system.
//
// Source: RFC 1035, RFC 6891 (EDNS), RFC 7766 (TCP).
package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Server answers for the addresses of one name in one family.
type Server interface {
	// Lookup asks for name, which is checked, in lower case and without a trailing dot. No address is
	// an answer, not an error. An error means that another server may know better; it is an
	// *RcodeError when the server itself says so.
	Lookup(ctx context.Context, name string, ipv6 bool) (Answer, error)
	// Close ends idle connections. Lookups in flight end with their contexts.
	Close() error
}

// Answer is what a server says.
type Answer struct {
	Addrs    []netip.Addr  // unmapped, at most maxAddrs
	TTL      time.Duration // how long that holds, also when there is no address
	NotFound bool          // there is no such name, in any family
}

// RcodeError is an answer that is none: SERVFAIL, REFUSED and the like.
type RcodeError struct{ Rcode int }

func (e *RcodeError) Error() string {
	if name, ok := dns.RcodeToString[e.Rcode]; ok {
		return "answered " + name
	}
	return "answered code " + strconv.Itoa(e.Rcode)
}

// Schemes of servers that later versions serve.
var later = []string{"tls", "tcp-tls", "https", "quic", "h3"}

const grammar = `must be "system", or an IP address or host with an optional port, after udp:// or tcp:// or nothing`

// New makes the server that address names: system, 8.8.8.8, 8.8.8.8:553, [2001:db8::1]:53,
// dns.google, and these after udp:// or tcp://. It asks nobody.
func New(address string) (Server, error) {
	if address == "system" {
		return newSystem(), nil
	}
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		scheme, rest = "udp", address
	}
	for _, name := range later {
		if scheme == name {
			return nil, fmt.Errorf("is %q, %s:// is not served by this version; %s", address, scheme, grammar)
		}
	}
	e, ok := parseEndpoint(strings.TrimSuffix(rest, "/"))
	switch {
	case !ok:
	case scheme == "udp":
		return newUDP(e), nil
	case scheme == "tcp":
		return newTCP(e), nil
	}
	return nil, fmt.Errorf("is %q, %s", address, grammar)
}

const defaultPort = 53

// parseEndpoint reads host, host:port, an IPv6 address, or one in brackets with a port.
func parseEndpoint(s string) (*endpoint, bool) {
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	if addr, err := netip.ParseAddr(bare); err == nil {
		return &endpoint{addr: addr, port: defaultPort}, true
	}
	host, port := s, uint16(defaultPort)
	if strings.Contains(s, ":") {
		var text string
		var err error
		if host, text, err = net.SplitHostPort(s); err != nil {
			return nil, false
		}
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return nil, false
		}
		port = uint16(n)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return &endpoint{addr: addr, port: port}, true
	}
	if _, ok := dns.IsDomainName(host); !ok || host == "" || strings.ContainsAny(host, " /\\@%?#:") {
		return nil, false
	}
	return &endpoint{host: host, port: port}, true
}

package option

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Schemes of DNS servers.
const (
	DNSSystem = "system" // whatever this host is set up to ask
	DNSUDP    = "udp"
	DNSTCP    = "tcp"
	DNSTLS    = "tls"   // RFC 7858
	DNSHTTPS  = "https" // RFC 8484, over HTTP/2
	DNSQUIC   = "quic"  // RFC 9250
	DNSH3     = "h3"    // RFC 8484, over HTTP/3
)

// DNSAddress says where and how a DNS server is asked.
type DNSAddress struct {
	Scheme string // one of the constants above; the other fields are empty for DNSSystem
	Host   string // IP address without brackets, or name without a trailing dot
	Port   uint16
	Path   string // for DNSHTTPS and DNSH3: with its leading slash, and query if any
}

const dnsGrammar = `must be "system", or an IP address or host with an optional port, after udp://, tcp://, tls://, quic:// or nothing, ` +
	`or like "https://dns.google/dns-query" or "h3://dns.google/dns-query"`

// ParseDNSAddress reads system, 8.8.8.8, 8.8.8.8:553, [2001:db8::1]:53, dns.google, these after udp://,
// tcp://, tls:// (or tcp-tls://) and quic://, and https:// and h3:// with or without a path. Xray's +local
// at the end of a scheme says what is so here anyway. Errors name the address, and what would be right.
func ParseDNSAddress(text string) (DNSAddress, error) {
	switch text {
	case "":
		return DNSAddress{}, fmt.Errorf("is required; %s", dnsGrammar)
	case DNSSystem:
		return DNSAddress{Scheme: DNSSystem}, nil
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		scheme, rest = DNSUDP, text
	}
	a, ok := dnsScheme(scheme)
	if !ok {
		return DNSAddress{}, fmt.Errorf("is %q, %s", short(text), dnsGrammar)
	}
	where := strings.TrimSuffix(rest, "/")
	if a.Path != "" {
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			where, a.Path = rest[:i], dnsPath(rest[i:], a.Path)
		}
		if !printableASCII(a.Path) {
			return DNSAddress{}, fmt.Errorf("is %q, the path must be as in a URL: no spaces, no #, other letters as %%…", short(text))
		}
	}
	err := a.readHost(where, text)
	return a, err
}

// dnsScheme gives port and path their defaults.
func dnsScheme(scheme string) (DNSAddress, bool) {
	switch strings.TrimSuffix(strings.ToLower(scheme), "+local") {
	case "udp":
		return DNSAddress{Scheme: DNSUDP, Port: 53}, true
	case "tcp":
		return DNSAddress{Scheme: DNSTCP, Port: 53}, true
	case "tls", "tcp-tls":
		return DNSAddress{Scheme: DNSTLS, Port: 853}, true
	case "quic":
		return DNSAddress{Scheme: DNSQUIC, Port: 853}, true
	case "https":
		return DNSAddress{Scheme: DNSHTTPS, Port: 443, Path: "/dns-query"}, true
	case "h3", "https3":
		return DNSAddress{Scheme: DNSH3, Port: 443, Path: "/dns-query"}, true
	}
	return DNSAddress{}, false
}

// dnsPath is path without RFC 8484's template of a GET; the root alone is no place for answers.
func dnsPath(path, usual string) string {
	if path = strings.TrimSuffix(path, "{?dns}"); path == "/" {
		return usual
	}
	return path
}

func printableASCII(path string) bool {
	for i := range len(path) {
		if c := path[i]; c <= ' ' || c >= 0x7f || c == '#' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// readHost reads an address or a host, with or without a port.
func (a *DNSAddress) readHost(where, text string) error {
	bare := where
	if inner, ok := strings.CutPrefix(where, "["); ok && strings.HasSuffix(inner, "]") {
		bare = strings.TrimSuffix(inner, "]")
	}
	if _, err := netip.ParseAddr(bare); err == nil {
		a.Host = bare
		return nil
	}
	if validHost(where) {
		a.Host = strings.TrimSuffix(where, ".")
		return nil
	}
	host, port, ok := cutPort(where)
	n, err := strconv.ParseUint(port, 10, 16)
	if _, errIP := netip.ParseAddr(host); !ok || errIP != nil && !validHost(host) {
		return fmt.Errorf("is %q, %s", short(text), dnsGrammar)
	}
	if err != nil || n == 0 {
		return fmt.Errorf("is %q, the port must be 1 to 65535", short(text))
	}
	a.Host, a.Port = strings.TrimSuffix(host, "."), uint16(n)
	return nil
}

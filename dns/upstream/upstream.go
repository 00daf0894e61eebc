// Package upstream asks DNS servers for addresses: over UDP, TCP, TLS, HTTPS, QUIC, HTTP/3, or through
// the system.
//
// Source: RFC 1035, RFC 6891 (EDNS), RFC 7766 (TCP), RFC 7858 (TLS), RFC 8484 (HTTPS), RFC 9250 (QUIC).
package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"strconv"
	"time"

	"github.com/miekg/dns"

	"heki/option"
)

// Server answers for the addresses of one name in one family.
type Server interface {
	// Lookup asks for name, which is checked, in lower case and without a trailing dot. No address is
	// an answer, not an error. An error means that another server may know better; it is an
	// *RcodeError when the server itself says so.
	Lookup(ctx context.Context, name string, ipv6 bool) (Answer, error)
	// Close ends connections. Lookups should have ended, and none should come.
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

// Finder finds the addresses of servers that are named by host. The error says why there is none.
type Finder func(ctx context.Context, host string) ([]netip.Addr, error)

// New makes the server that address names, as of option.ParseDNSAddress. It asks nobody. A server that
// is named by host is looked up with find when it is asked, nil is the system. Certificates are checked
// for the host or the address that is written.
func New(address string, find Finder) (Server, error) { return build(address, find, nil) }

// build is New with the authorities to believe, nil for the system's.
func build(address string, find Finder, roots *x509.CertPool) (Server, error) {
	a, err := option.ParseDNSAddress(address)
	if err != nil {
		return nil, err
	}
	if a.Scheme == option.DNSSystem {
		return newSystem(), nil
	}
	e := newEndpoint(a, find)
	switch a.Scheme {
	case option.DNSTCP:
		return newTCP(e), nil
	case option.DNSTLS:
		return newTLS(e, roots), nil
	case option.DNSHTTPS:
		return newHTTPS(e, a.Path, roots), nil
	case option.DNSQUIC:
		return newDoQ(e, roots), nil
	case option.DNSH3:
		return newH3(e, a.Path, roots), nil
	}
	return newUDP(e), nil
}

// tlsConfig is for servers that must show a certificate for what e is called.
func tlsConfig(e *endpoint, roots *x509.CertPool, alpn string) *tls.Config {
	return &tls.Config{
		ServerName:         e.name(),
		RootCAs:            roots,
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{alpn},
		ClientSessionCache: tls.NewLRUClientSessionCache(idleConns),
	}
}

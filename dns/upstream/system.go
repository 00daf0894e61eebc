package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// How long answers of the system hold, which does not say.
const (
	systemTTL         = time.Minute
	systemNegativeTTL = 10 * time.Second
)

// system asks as other programs of this host do: /etc/hosts and the servers of /etc/resolv.conf.
type system struct {
	resolver *net.Resolver
}

func newSystem() *system { return &system{&net.Resolver{PreferGo: true}} }

// Lookup implements Server.
func (s *system) Lookup(ctx context.Context, name string, ipv6 bool) (Answer, error) {
	network := "ip4"
	if ipv6 {
		network = "ip6"
	}
	if strings.Contains(name, ".") {
		name += "." // no search domains; names without a dot are not found in /etc/hosts with one
	}
	found, err := s.resolver.LookupNetIP(ctx, network, name)
	var failure *net.DNSError
	var otherFamily *net.AddrError // it is in /etc/hosts, with the other family
	switch {
	case errors.As(err, &failure) && failure.IsNotFound:
		return Answer{TTL: systemNegativeTTL, NotFound: true}, nil
	case errors.As(err, &otherFamily):
		return Answer{TTL: systemNegativeTTL}, nil
	case err != nil:
		return Answer{}, fmt.Errorf("system: %w", because(ctx, err))
	}
	addrs := make([]netip.Addr, 0, min(len(found), maxAddrs))
	for _, addr := range found {
		addr = addr.Unmap().WithZone("")
		if addr.Is6() == ipv6 && !addr.IsUnspecified() && len(addrs) < maxAddrs {
			addrs = append(addrs, addr)
		}
	}
	return Answer{Addrs: addrs, TTL: systemTTL}, nil
}

// Close implements Server.
func (s *system) Close() error { return nil }

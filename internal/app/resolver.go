package app

import (
	"context"
	"net/netip"
	"sync/atomic"

	"heki/dns"
)

// resolver lets a reload change the DNS client under everything that resolves.
type resolver struct {
	client atomic.Pointer[dns.Client]
}

// Lookup implements adapter.Resolver.
func (r *resolver) Lookup(ctx context.Context, inbound, host string) ([]netip.Addr, error) {
	return r.client.Load().Lookup(ctx, inbound, host)
}

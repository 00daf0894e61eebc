package dns

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"heki/dns/upstream"
	"heki/option"
)

// find finds a server that is named by host: through the system, and where that fails through the
// servers of the file that have an address and so need nobody to be found.
func (c *Client) find(ctx context.Context, host string) ([]netip.Addr, error) {
	found, err := c.findBySystem(ctx, host)
	if err == nil {
		return found, nil
	}
	errs := serverErrors{err}
	name, err := normalise(host)
	if err != nil {
		return nil, err
	}
	for _, s := range c.own {
		if ctx.Err() != nil {
			break
		}
		a, err := option.ParseDNSAddress(s.address)
		if err != nil || !isAddress(a.Host) || s.late() {
			continue
		}
		for _, ipv6 := range familiesOf("") {
			answer, err := s.ask(ctx, name, ipv6, 2)
			if len(answer.Addrs) > 0 {
				return answer.Addrs, nil
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("dns server %s: %w", s.tag, err))
			}
		}
	}
	return nil, errs
}

// findBySystem leaves half of the time for others.
func (c *Client) findBySystem(ctx context.Context, host string) ([]netip.Addr, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	return upstream.FindBySystem(ctx, host)
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

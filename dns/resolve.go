package dns

import (
	"context"
	"net/netip"
	"time"

	"heki/dns/upstream"
)

// family is what the servers said about one family.
type family struct {
	upstream.Answer
	err   error
	ended bool // it came in time
}

// resolve asks for the families of the strategy, side by side, and puts the preferred one first.
func (c *Client) resolve(ctx context.Context, name string) entry {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		family
		index int
	}
	results := make(chan result, len(c.families)) // room for all: no sender waits
	for i, ipv6 := range c.families {
		c.wg.Go(func() {
			answer, err := c.ask(ctx, name, ipv6)
			results <- result{family{answer, err, true}, i}
		})
	}
	found := make([]family, len(c.families))
	var enough <-chan time.Time
	for range c.families {
		select {
		case r := <-results:
			found[r.index] = r.family
			if len(r.Addrs) > 0 && enough == nil {
				timer := time.NewTimer(secondWait)
				defer timer.Stop()
				enough = timer.C
			}
		case <-enough:
			return c.outcome(found)
		}
	}
	return c.outcome(found)
}

// outcome joins the families, which stand in their order of preference.
func (c *Client) outcome(found []family) entry {
	var addrs []netip.Addr
	var err error
	ttl, negative := c.maxTTL, negativeTTL
	notFound, failed := false, false
	for _, f := range found {
		switch {
		case !f.ended || f.err != nil:
			failed = true
			if err == nil { // families fail alike: one reason will do
				err = f.err
			}
		case len(f.Addrs) > 0:
			addrs = append(addrs, f.Addrs...)
			ttl = min(ttl, f.TTL)
		default:
			negative = min(negative, f.TTL)
			notFound = notFound || f.NotFound
		}
	}
	switch {
	case len(addrs) > 0 && failed: // a family is missing: ask again soon
		return entry{addrs: addrs, ttl: min(ttl, negativeTTL), keep: true}
	case len(addrs) > 0:
		return entry{addrs: addrs, ttl: ttl, keep: true}
	case failed:
		return entry{err: err}
	case notFound:
		return entry{err: ErrNoHost, ttl: negative, keep: true}
	}
	return entry{err: ErrNoAddress, ttl: negative, keep: true}
}

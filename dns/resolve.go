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

// resolve asks leg after leg until one has an outcome that can be kept.
func (c *Client) resolve(ctx context.Context, to *set, name string) entry {
	order := to.order()
	more := 0
	for _, l := range order {
		more += len(l.servers)
	}
	var errs serverErrors
	for _, l := range order {
		more -= len(l.servers)
		e := c.resolveBy(ctx, l, name, more)
		if e.keep {
			if l.standIn {
				e.ttl = min(e.ttl, standInTTL)
			}
			return e
		}
		errs = append(errs, e.err)
		if ctx.Err() != nil {
			break
		}
	}
	return entry{err: errs}
}

// resolveBy asks for the families of l, side by side, and puts the preferred one first. more servers
// come after those of l.
func (c *Client) resolveBy(ctx context.Context, l *leg, name string, more int) entry {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		family
		index int
	}
	results := make(chan result, len(l.families)) // room for all: no sender waits
	for i, ipv6 := range l.families {
		c.wg.Go(func() {
			answer, err := l.ask(ctx, name, ipv6, more)
			results <- result{family{answer, err, true}, i}
		})
	}
	found := make([]family, len(l.families))
	var enough <-chan time.Time
	for range l.families {
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

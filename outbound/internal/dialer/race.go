package dialer

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// stagger is how long one address may keep the next waiting: RFC 8305 §5.
const stagger = 250 * time.Millisecond

// race dials addrs in order, the next one when the last failed or after stagger, and returns the
// first connection. The others are ended; one that still succeeds is closed.
func race(ctx context.Context, addrs []netip.Addr, dial func(context.Context, netip.Addr) (net.Conn, error)) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result)
	next, running := 0, 0
	start := func() {
		addr := addrs[next]
		next, running = next+1, running+1
		go func() {
			conn, err := dial(ctx, addr)
			select {
			case results <- result{conn, err}:
			case <-ctx.Done():
				if conn != nil {
					_ = conn.Close()
				}
			}
		}()
	}
	start()
	timer := time.NewTimer(stagger)
	defer timer.Stop()
	var errs []error
	for running > 0 {
		select {
		case r := <-results:
			running--
			if r.err == nil {
				return r.conn, nil
			}
			errs = append(errs, r.err)
		case <-timer.C:
		case <-ctx.Done():
			return nil, errors.Join(append(errs, context.Cause(ctx))...)
		}
		if next < len(addrs) {
			start()
			timer.Reset(stagger)
		}
	}
	return nil, errors.Join(errs...)
}

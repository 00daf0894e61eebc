package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"heki/option"
)

// Times of an order.
const (
	attemptTimeout = 15 * time.Minute // DNS may be slow
	firstPause     = 30 * time.Second // after a failure, doubled each time
	longestPause   = 6 * time.Hour
	longestLook    = 6 * time.Hour    // between two questions when to renew
	soonest        = 10 * time.Second // from one certificate to the next
	// refusedPause keeps below five failed validations an hour.
	// Source: https://letsencrypt.org/docs/rate-limits/
	refusedPause = 15 * time.Minute
	limitedPause = time.Hour // when the authority says rateLimited and not until when
)

// order is one certificate and who uses it.
type order struct {
	identity
	manager *Manager
	log     *slog.Logger
	cancel  context.CancelFunc
	current atomic.Pointer[tls.Certificate]
	changed chan struct{} // holds one: the options are others now

	mu      sync.Mutex
	holders map[*holder]struct{}
	newest  *option.ACME

	// Of run alone.
	jitter   float64   // 0 to 1, drawn for each certificate
	window   time.Time // when the authority wants it renewed; zero: it does not say
	obtained time.Time // by this process
}

// load takes the certificate of a former run.
func (o *order) load() {
	o.jitter = rand.Float64()
	cert, err := readPair(o.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		o.log.Warn("the kept certificate cannot be used; a new one is ordered", "err", err)
	case time.Now().After(cert.Leaf.NotAfter):
		o.log.Warn("the kept certificate has expired; clients are refused until a new one is here", "expired", cert.Leaf.NotAfter)
	default:
		o.current.Store(cert)
		o.log.Info("certificate kept from before", "expires", cert.Leaf.NotAfter)
	}
}

func (o *order) add(h *holder) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holders[h] = struct{}{}
	if o.newest != nil && !reflect.DeepEqual(o.newest, h.request.o) {
		select { // what was wrong may be right now
		case o.changed <- struct{}{}:
		default:
		}
	}
	o.newest = h.request.o
}

func (o *order) remove(h *holder) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.holders, h)
	return len(o.holders)
}

// wanted is how to order now: the newest holder's options and the addresses of all.
func (o *order) wanted() (*option.ACME, []net.Addr) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []net.Addr
	for h := range o.holders {
		all = append(all, h.listening...)
	}
	return o.newest, all
}

// run orders and renews until ctx ends.
func (o *order) run(ctx context.Context) {
	if o.current.Load() == nil {
		o.log.Info("no certificate yet: it is being ordered, and clients are refused until it is here", "from", o.Directory)
	}
	failures := 0
	for {
		if !o.awaitDue(ctx) {
			return
		}
		err := o.obtain(ctx, failures)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			failures = 0
			continue
		}
		pause := pauseAfter(err, failures)
		failures++
		meanwhile := "clients are refused until it is here"
		if cert := o.current.Load(); cert != nil {
			meanwhile = "the one until " + cert.Leaf.NotAfter.Format(time.DateTime) + " stays in use"
		}
		o.log.Warn("no certificate; "+meanwhile, "err", err, "next_try", pause.Round(time.Second).String())
		select {
		case <-o.changed:
			failures = 0
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// awaitDue returns when it is time to order; false: ctx has ended.
func (o *order) awaitDue(ctx context.Context) bool {
	for {
		cert := o.current.Load()
		if cert == nil {
			return ctx.Err() == nil
		}
		o.askWindow(ctx, cert.Leaf)
		left := time.Until(dueAt(cert.Leaf, o.jitter, o.window))
		// A clock that is wrong must not make every new certificate an old one.
		if !o.obtained.IsZero() {
			left = max(left, max(lifeOf(cert.Leaf)/2, soonest)-time.Since(o.obtained))
		}
		if left <= 0 {
			return ctx.Err() == nil
		}
		if !sleep(ctx, min(left, longestLook)) {
			return false
		}
	}
}

// askWindow asks the authority when to renew; it may want so early, as after a mistake of its own.
func (o *order) askWindow(ctx context.Context, leaf *x509.Certificate) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	from, to, err := o.manager.issuer.window(ctx, o.identity, leaf)
	if err != nil {
		o.log.Debug("the authority does not say when to renew", "err", err)
		return
	}
	o.window = time.Time{}
	if to.After(from) {
		o.window = from.Add(time.Duration(o.jitter * float64(to.Sub(from))))
	}
}

func lifeOf(leaf *x509.Certificate) time.Duration { return leaf.NotAfter.Sub(leaf.NotBefore) }

// dueAt is some time before a third of the life is left, or when the authority wants, if that is earlier.
func dueAt(leaf *x509.Certificate, jitter float64, window time.Time) time.Time {
	life := lifeOf(leaf)
	due := leaf.NotAfter.Add(-life/3 - time.Duration(jitter*float64(life/20)))
	if !window.IsZero() && window.Before(due) {
		return window
	}
	return due
}

// obtain orders once, when there is a place.
func (o *order) obtain(ctx context.Context, failures int) error {
	select {
	case o.manager.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-o.manager.slots }()
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	how, listening := o.wanted()
	job := job{identity: o.identity, o: how, listening: listening, attempt: failures}
	if cert := o.current.Load(); cert != nil {
		job.replaces = cert.Leaf
	}
	pem, err := o.manager.issuer.issue(ctx, job)
	if err != nil {
		return err
	}
	cert, err := parsePair(pem)
	if err != nil {
		return err
	}
	o.current.Store(cert)
	o.jitter, o.window, o.obtained = rand.Float64(), time.Time{}, time.Now()
	o.log.Info("new certificate", "from", o.Directory, "expires", cert.Leaf.NotAfter)
	if err := writePair(o.path(), pem); err != nil {
		o.log.Error("the certificate cannot be kept: the next start orders another one", "err", err)
	}
	return nil
}

// pauseAfter is how long to wait after the n-th failure in a row, counted from 0.
func pauseAfter(err error, n int) time.Duration {
	pause := min(firstPause<<min(n, 20), longestPause)
	var refused *Refused
	if errors.As(err, &refused) {
		switch {
		case refused.RetryAfter > 0:
			return refused.RetryAfter + rand.N(time.Minute)
		case refused.Limited:
			pause = max(pause, limitedPause)
		case n > 0 || !refused.Another:
			pause = max(pause, refusedPause)
		}
	}
	return pause + rand.N(pause/4)
}

// sleep waits; false: ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

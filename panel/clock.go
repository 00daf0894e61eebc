package panel

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	clockSamples = 9               // the median of these is the offset
	clockMaxRTT  = 2 * time.Second // slower answers say too little
	clockWarn    = 5 * time.Second // VMess, SS2022 and SSR begin to refuse clients at 30 s to 2 min
)

// clock is the panels' idea of the time, by their Date headers. It is kept on the monotonic clock, so that it
// stays right when somebody sets this machine's.
type clock struct {
	log    *slog.Logger
	now    func() time.Time     // this machine's
	steady func() time.Duration // since some moment, whatever happens to now

	// origin is the panels' time at steady's zero, in Unix nanoseconds; 0 while unknown.
	origin atomic.Int64

	mu      sync.Mutex
	samples []int64 // of origin, newest last
	warned  bool
}

// newClock returns a clock that knows nothing yet.
func newClock(log *slog.Logger, now func() time.Time) *clock {
	began := time.Now()
	return &clock{log: log, now: now, steady: func() time.Duration { return time.Since(began) }}
}

// add takes one sample: how far a panel's clock was ahead of ours.
func (c *clock) add(ahead, rtt time.Duration) {
	if rtt > clockMaxRTT {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.samples) == clockSamples {
		c.samples = c.samples[1:]
	}
	c.samples = append(c.samples, c.now().Add(ahead-c.steady()).UnixNano())
	sorted := slices.Sorted(slices.Values(c.samples))
	c.origin.Store(sorted[len(sorted)/2])
	off := c.offset()
	wrong := off.Abs() > clockWarn && len(c.samples) > 2
	if wrong == c.warned {
		return
	}
	c.warned = wrong
	if wrong {
		c.log.Warn("the clock of this machine differs from the panel's by " + off.Round(time.Second).String() + "; run an NTP client")
	} else {
		c.log.Info("the clock of this machine agrees with the panel's again")
	}
}

// offset is what to add to our clock to get the panels' time; 0 while unknown. It takes no lock: every handshake
// asks for it.
func (c *clock) offset() time.Duration {
	origin := c.origin.Load()
	if origin == 0 {
		return 0
	}
	return time.Unix(0, origin).Add(c.steady()).Sub(c.now())
}

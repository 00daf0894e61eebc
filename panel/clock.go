package panel

import (
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	clockSamples = 9               // the median of these is the offset
	clockMaxRTT  = 2 * time.Second // slower answers say too little
	clockWarn    = 5 * time.Second // VMess, SS2022 and SSR begin to refuse clients at 30 s to 2 min
)

// clock is the panels' idea of the time, by their Date headers.
type clock struct {
	log *slog.Logger

	mu      sync.Mutex
	samples []time.Duration // newest last
	warned  bool
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
	c.samples = append(c.samples, ahead)
	off := c.medianLocked()
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

// offset is what to add to our clock to get the panels' time; 0 while unknown.
func (c *clock) offset() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.medianLocked()
}

func (c *clock) medianLocked() time.Duration {
	if len(c.samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(c.samples))
	return sorted[len(sorted)/2]
}

package panel

import (
	"log/slog"
	"testing"
	"time"
)

// TestClockIsSet: when somebody sets this machine's clock the panels' time goes on, before they say it again.
func TestClockIsSet(t *testing.T) {
	wall, steady := time.Unix(1_700_000_000, 0), time.Duration(0)
	pass := func(d time.Duration) { wall, steady = wall.Add(d), steady+d }
	c := newClock(slog.New(slog.DiscardHandler), func() time.Time { return wall })
	c.steady = func() time.Duration { return steady }
	if off := c.offset(); off != 0 {
		t.Errorf("offset = %s before the first answer", off)
	}
	for range clockSamples {
		c.add(40*time.Second, 10*time.Millisecond)
		pass(time.Minute)
	}
	if off := c.offset(); off != 40*time.Second {
		t.Errorf("offset = %s, want 40s", off)
	}
	wall = wall.Add(40 * time.Second) // NTP puts it right
	if off := c.offset(); off != 0 {
		t.Errorf("offset = %s after the clock was put right, want 0s", off)
	}
	pass(time.Minute)
	c.add(0, 10*time.Millisecond)
	if off := c.offset(); off != 0 {
		t.Errorf("offset = %s after an answer that agrees, want 0s", off)
	}
	c.add(time.Hour, 3*time.Second) // too slow to say anything
	if off := c.offset(); off != 0 {
		t.Errorf("offset = %s after a slow answer, want 0s", off)
	}
	if n := testing.AllocsPerRun(100, func() { c.offset() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

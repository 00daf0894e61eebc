package panel

import (
	"fmt"
	"time"
)

// sayAgain is how often a failure that goes on is told.
const sayAgain = 10 * time.Minute

// fold keeps the log readable while the same thing fails again and again.
type fold struct {
	text  string
	count int
	said  time.Time
}

// fail counts a failure. It returns the line for the log, and whether to log one: the first of its
// kind, then one every ten minutes.
func (f *fold) fail(now time.Time, text string) (string, bool) {
	f.count++
	if text != f.text {
		if f.text == "" {
			f.count = 1
		}
		f.text, f.said = text, now
		return text, true
	}
	if now.Sub(f.said) < sayAgain {
		return "", false
	}
	f.said = now
	return fmt.Sprintf("still failing: %s (%d times)", text, f.count), true
}

// ok ends a series and returns how many failures it had.
func (f *fold) ok() int {
	n := f.count
	*f = fold{}
	return n
}

// backoff is the wait after the nth failure in a row: base, doubled each time, at most five minutes.
func backoff(base time.Duration, n int) time.Duration {
	const most = 5 * time.Minute
	wait := base
	for i := 1; i < n && wait < most; i++ {
		wait *= 2
	}
	return min(wait, most)
}

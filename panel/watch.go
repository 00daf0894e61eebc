package panel

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

const (
	newsSpacing = 2 * time.Second // between two syncs that the panel asked for: it tells of every single user
	askAgain    = time.Hour       // whether a panel that does not push does by now
	steady      = time.Minute     // a connection that lasted as long was a good one
)

// watch syncs as soon as the panel says that something has changed, beside the polling, which goes on: a
// panel that pushes may forget to.
func (a *actor) watch(ctx context.Context, w Watcher) {
	fails := 0
	for ctx.Err() == nil {
		begun := a.svc.cfg.Now()
		err := w.Watch(ctx, a.tell)
		if ctx.Err() != nil {
			return
		}
		wait := askAgain
		if !errors.Is(err, ErrNoPush) {
			fails++
			if a.svc.cfg.Now().Sub(begun) >= steady {
				fails = 1
			}
			wait = backoff(firstBackoff, fails)
			a.say(slog.LevelDebug, "push: %v; next try in %s", err, wait.Round(time.Second))
		}
		timer := time.NewTimer(jitter(wait))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// tell notes that something has changed.
func (a *actor) tell() {
	select {
	case a.news <- struct{}{}:
	default:
	}
}

// soon is when the news are looked at.
func (a *actor) soon(now time.Time) time.Time {
	if next := a.synced.Add(newsSpacing); next.After(now) {
		return next
	}
	return now
}

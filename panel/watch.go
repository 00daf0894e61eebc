package panel

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"heki/adapter"
)

const (
	newsSpacing = 2 * time.Second // between two syncs that the panel asked for: it tells of every single user
	askAgain    = time.Hour       // whether a panel that does not push does by now
	steady      = time.Minute     // a connection that lasted as long was a good one
	maxDeltas   = 1000            // told and not looked at; beyond, all users are asked for
)

// watch hands on what the panel tells, beside the polling, which goes on: a panel that pushes may forget to.
func watch(ctx context.Context, now func() time.Time, say func(slog.Level, string, ...any), w Watcher, tell func(News)) {
	fails := 0
	for ctx.Err() == nil {
		begun := now()
		err := w.Watch(ctx, tell)
		if ctx.Err() != nil {
			return
		}
		wait := askAgain
		if !errors.Is(err, ErrNoPush) {
			fails++
			if now().Sub(begun) >= steady {
				fails = 1
			}
			wait = backoff(firstBackoff, fails)
			say(slog.LevelDebug, "push: %v; next try in %s", err, wait.Round(time.Second))
		}
		timer := time.NewTimer(max(jitter(wait), retryAfter(err)))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// inbox is what a panel told of a node and nobody looked at yet.
type inbox struct {
	bell chan struct{} // capacity 1

	mu     sync.Mutex
	deltas []Delta // guarded by mu
	ask    bool    // guarded by mu: something changed that must be asked for
}

// take empties it.
func (i *inbox) take() (deltas []Delta, ask bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	deltas, ask = i.deltas, i.ask
	i.deltas, i.ask = nil, false
	return deltas, ask
}

// tell notes that something has changed. It does not block.
func (a *actor) tell(n News) {
	i := &a.news
	i.mu.Lock()
	if n.Users == nil || len(i.deltas) >= maxDeltas {
		i.ask, i.deltas = true, nil
	} else if !i.ask {
		i.deltas = append(i.deltas, *n.Users)
	}
	i.mu.Unlock()
	select {
	case i.bell <- struct{}{}:
	default:
	}
}

// hear plans when the news are looked at: what a panel tells of many users is looked at together.
func (a *actor) hear() {
	if now := a.svc.cfg.Now(); !a.heard {
		a.heard, a.nextHear = true, soonAfter(a.nextHear, now)
	}
}

// soonAfter is now, unless the time before was just now.
func soonAfter(before, now time.Time) time.Time {
	if next := before.Add(newsSpacing); next.After(now) {
		return next
	}
	return now
}

// applyNews changes single users at once, or asks for all of them. The next poll confirms what was told.
func (a *actor) applyNews() {
	a.heard = false
	deltas, ask := a.news.take()
	reader, ok := a.entry().client.(DeltaReader)
	if ask || !ok || a.manager == nil || !a.known || a.emptied || a.synced.IsZero() {
		a.nextSync = a.svc.cfg.Now()
		return
	}
	accounts := slices.Clone(a.accounts)
	for _, d := range deltas {
		changed, err := reader.Changed(d)
		if err != nil {
			a.say(slog.LevelDebug, "push: %v", err)
			a.nextSync = a.svc.cfg.Now()
			return
		}
		accounts = applyDelta(accounts, d.Removed, changed)
	}
	if len(accounts) == 0 { // as with a list: not at once
		a.nextSync = a.svc.cfg.Now()
		return
	}
	if slices.Equal(a.accounts, accounts) {
		return
	}
	a.accounts, a.dirty, a.unsaved = accounts, true, true
	if err := a.apply(); err != nil {
		a.say(slog.LevelDebug, "push: %v", err)
		a.nextSync = a.svc.cfg.Now() // it tells, and tries again
	}
}

// applyDelta changes accounts in place.
func applyDelta(accounts []adapter.Account, removed []int64, changed []adapter.Account) []adapter.Account {
	for _, c := range changed {
		if i := slices.IndexFunc(accounts, func(a adapter.Account) bool { return a.ID == c.ID }); i >= 0 {
			accounts[i] = c
		} else {
			accounts = append(accounts, c)
		}
	}
	if len(removed) == 0 {
		return accounts
	}
	return slices.DeleteFunc(accounts, func(a adapter.Account) bool { return slices.Contains(removed, a.ID) })
}

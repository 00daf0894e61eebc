package panel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"heki/option"
)

// Reload runs another configuration. Nodes whose entry, panel and limits are the same are not touched;
// a changed entry keeps its users' connections unless its inbound has to change; the nodes that are
// gone report what is left and are removed. On error nothing has changed, unless it says otherwise.
func (s *Service) Reload(panels []option.Panel, limits option.Limits, traffic option.Traffic) error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return errors.New("panel service is closed")
	}
	t, err := s.plan(panels, limits, traffic)
	if err != nil {
		return err
	}
	keep := make(map[string]*entry, len(t.entries))
	for _, e := range t.entries {
		keep[e.tag] = e
	}
	err = s.muster(t.fleets)
	err = errors.Join(err, s.drop(func(a *actor) bool { return keep[a.tag] != nil }))
	var wg sync.WaitGroup
	for _, a := range s.list() {
		if e := keep[a.tag]; !a.entry().same(e) {
			wg.Go(func() { a.change(e) })
		}
	}
	wg.Wait()
	s.mu.Lock()
	s.policy = t.policy
	s.mu.Unlock()
	err = errors.Join(err, s.open(t.entries))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.startLocked()
	s.forgetClientsLocked()
	return err
}

// drop ends the actors that are not kept.
func (s *Service) drop(kept func(*actor) bool) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, a := range s.list() {
		if kept(a) {
			continue
		}
		s.mu.Lock()
		delete(s.actors, a.tag)
		s.mu.Unlock()
		wg.Go(func() {
			if err := a.remove(); err != nil {
				mu.Lock()
				errs = append(errs, fmt.Errorf("remove %s: %w", a.tag, err))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// forgetClientsLocked drops the HTTP clients of panels that are gone.
func (s *Service) forgetClientsLocked() {
	used := make(map[string]bool, len(s.clients))
	for _, a := range s.actors {
		used[a.entry().panel.Name] = true
	}
	for name := range s.fleets {
		used[name] = true
	}
	for key, c := range s.clients {
		if !used[key.panel] {
			c.CloseIdleConnections()
			delete(s.clients, key)
		}
	}
}

// change gives a the entry e, with what it knows of the panel's settings and users kept: they are
// applied under the new entry at once, also while the panel is down.
func (a *actor) change(e *entry) {
	a.stop()
	a.conf.Store(e)
	a.dirty = true
	a.nextSync, a.quiet = a.svc.cfg.Now(), time.Time{}
	a.syncFails = 0
}

// remove ends the node for good: nobody connects, everybody is cut, what is left is reported.
func (a *actor) remove() error {
	a.stop()
	var errs []error
	if a.manager != nil || a.routing != nil {
		errs = append(errs, a.svc.cfg.Host.Remove(a.tag))
	}
	a.books.Close()
	a.end()
	ctx, cancel := context.WithTimeout(a.svc.hard, farewell)
	defer cancel()
	errs = append(errs, a.last(ctx, 0), a.snapshot.remove())
	if _, bytes := a.outbox.Backlog(); bytes > 0 {
		a.say(slog.LevelWarn, "removed from the configuration with %s unreported; they go out if the node comes back", size(bytes))
	}
	return errors.Join(errs...)
}

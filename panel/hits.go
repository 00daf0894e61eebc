package panel

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// maxHits bounds what is remembered of one node between two reports; a user who scans meets few rules.
const maxHits = 10_000

// hits collects who met which rule, each pair once.
type hits struct {
	mu  sync.Mutex
	set map[Hit]struct{}
}

// add notes a hit. It never blocks for long, as it is on the way of a connection.
func (h *hits) add(hit Hit) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.set) >= maxHits {
		return
	}
	if h.set == nil {
		h.set = make(map[Hit]struct{})
	}
	h.set[hit] = struct{}{}
}

// take empties it.
func (h *hits) take() []Hit {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []Hit
	for hit := range h.set {
		all = append(all, hit)
	}
	h.set = nil
	return all
}

// Hit tells that a user met a rule of the panel on the node with the tag. It does not block. Hits of rules
// that the panel does not want to hear of are dropped.
func (s *Service) Hit(tag string, user, rule int64) {
	a := s.actor(tag)
	if a == nil || user <= 0 || rule == 0 {
		return
	}
	if _, wanted := a.entry().client.(AuditReporter); wanted {
		a.hits.add(Hit{User: user, Rule: rule})
	}
}

// reportAudit sends the hits. What fails is kept for the next time, except when the panel may have it:
// panels ban by the number of hits.
func (a *actor) reportAudit(ctx context.Context) {
	reporter, ok := a.entry().client.(AuditReporter)
	if !ok || a.away {
		return
	}
	all := a.hits.take()
	for len(all) > 0 && !a.away {
		n := min(len(all), MaxReport)
		err := a.sendHits(ctx, reporter, all[:n])
		if class := classOf(err); err != nil && class != Unclear {
			break
		}
		all = all[n:]
	}
	for _, hit := range all {
		a.hits.add(hit)
	}
}

func (a *actor) sendHits(ctx context.Context, reporter AuditReporter, part []Hit) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(a.entry().panel.Timeout))
	defer cancel()
	err := reporter.ReportAudit(ctx, part)
	if err == nil {
		if n := a.auditFold.ok(); n > 0 {
			a.say(slog.LevelInfo, "report audit works again after %d failures", n)
		}
		return nil
	}
	class := classOf(err)
	a.away = class == Unreachable || class == Unclear
	a.heed(err)
	if line, ok := a.auditFold.fail(a.svc.cfg.Now(), err.Error()); ok {
		a.say(slog.LevelWarn, "%s", line)
	}
	return err
}

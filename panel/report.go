package panel

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"heki/internal/meter"
)

// bytesPerKB is the KB of the thresholds in limits.report.
const bytesPerKB = 1024

// reportStep sends traffic and online addresses, and plans the next time.
func (a *actor) reportStep(ctx context.Context) {
	a.decisions()
	r := a.rest()
	least := a.least(a.entry().limits.Report.MinTrafficKB, func(n *Node) int64 { return n.MinTraffic })
	err := a.reportTraffic(ctx, max(least, a.floor()), r)
	if err == nil && !a.away {
		a.reportRest(ctx, r)
		a.reportAudit(ctx)
	}
	wait := a.reportInterval()
	if err == nil {
		if n := a.reportFold.ok(); n > 0 {
			a.say(slog.LevelInfo, "reports work again after %d failures", n)
		}
		a.reportFails = 0
	} else {
		a.reportFails++
		wait = max(wait, backoff(firstBackoff, a.reportFails))
	}
	now := a.svc.cfg.Now()
	a.nextReport = now.Add(jitter(wait))
	if a.away { // the next sync finds out whether the panel is back
		if probe := now.Add(jitter(backoff(firstBackoff, a.reportFails))); probe.Before(a.nextSync) {
			a.nextSync = probe
		}
	}
}

// decisions takes up what a person decided about held batches: heki traffic resend and discard.
func (a *actor) decisions() {
	done, err := a.outbox.Decisions()
	for _, d := range done {
		what := "go out with the next report"
		if d.Decision == meter.Discard {
			what = "are forgotten"
		}
		a.say(slog.LevelWarn, "batch %s: %d users' %s %s, as heki traffic %s said", d.ID, len(d.Users), size(d.Bytes()), what, d.Decision)
	}
	if err != nil {
		a.say(slog.LevelError, "decisions about held traffic: %v", err)
	}
}

// reportTraffic sends all that is due, in portions that are settled one by one, and stops at the
// first that fails. Users of less than least bytes wait for the next report, if they may come back. The first
// portion takes r along where the panel wants it; r may be nil.
func (a *actor) reportTraffic(ctx context.Context, least int64, r *rest) error {
	p := meter.Portion{
		MinBytes: least, Limit: MaxReport,
		Gone: func(id int64) bool { return !a.roster.Has(id) },
	}
	brittle, ok := a.entry().client.(Brittle)
	if !ok {
		return a.sendAll(ctx, p, r)
	}
	p.Only = brittle.Knows
	if err := a.sendAll(ctx, p, r); err != nil {
		return err
	}
	p.Limit, p.Only = 1, nil
	return a.sendAll(ctx, p, r)
}

// sendAll sends what p says until nothing is left.
func (a *actor) sendAll(ctx context.Context, p meter.Portion, r *rest) error {
	portions := a.roster.Len()/p.Limit + 2 // new traffic must not keep us here
	for range portions {
		batch, ok, err := a.outbox.Next(p)
		if err != nil {
			a.disk(err)
			return err
		}
		if !ok {
			return nil
		}
		if err := a.send(ctx, batch, r); err != nil {
			return err
		}
		if len(batch.Users) < p.Limit {
			return nil
		}
	}
	return nil
}

// least is a threshold in bytes: the operator's, else the panel's.
func (a *actor) least(kb int64, asked func(*Node) int64) int64 {
	if kb > 0 || a.node == nil {
		return kb * bytesPerKB
	}
	return asked(a.node)
}

// floor is what a user must have moved for the panel to book it, whatever the operator wants.
func (a *actor) floor() int64 {
	if a.node == nil {
		return 0
	}
	return a.node.Floor
}

// send reports one portion and settles it, whatever happens.
func (a *actor) send(ctx context.Context, batch meter.Batch, r *rest) (err error) {
	outcome := meter.Ambiguous(a.svc.ambiguous())
	defer func() { a.disk(a.outbox.Done(batch, outcome)) }() // also when the client panics
	err = a.deliver(ctx, batch.Users, r)
	outcome = Settle(err, a.svc.ambiguous())
	if err == nil {
		a.setStatus(func(s *Status) {
			s.Reports++
			for _, u := range batch.Users {
				s.ReportedUp += u.Up
				s.ReportedDown += u.Down
			}
		})
		return nil
	}
	class := classOf(err)
	a.away = class == Unreachable || class == Unclear
	a.heed(err)
	kept := "kept for the next report"
	if outcome == meter.Ambiguous(a.svc.ambiguous()) {
		kept = fate(a.svc.ambiguous())
	}
	text := fmt.Sprintf("%d users' %s %s", len(batch.Users), size(batch.Bytes()), kept)
	if outcome != meter.Refused {
		a.reportFold.fail(a.svc.cfg.Now(), err.Error())
		a.say(slog.LevelWarn, "%v; %s", err, text) // each one is money: never folded
	} else if line, ok := a.reportFold.fail(a.svc.cfg.Now(), err.Error()); ok {
		a.say(slog.LevelWarn, "%s; %s", line, text)
	}
	return err
}

// fate says what becomes of bytes that the panel may or may not have.
func fate(p meter.Policy) string {
	switch p {
	case meter.Retry:
		return "may have arrived, sent again (traffic.on_ambiguous is retry)"
	case meter.Drop:
		return "may have arrived, dropped (traffic.on_ambiguous is drop)"
	}
	return "may have arrived, held in the journal (traffic.on_ambiguous is hold)"
}

// online is who is online, without those below the threshold.
func (a *actor) online() []meter.Online {
	online := a.books.Online()
	least := a.least(a.entry().limits.Report.MinOnlineKB, func(n *Node) int64 { return n.MinOnline })
	if least <= 0 {
		return online
	}
	kept := online[:0]
	for _, u := range online {
		if u.Bytes >= least {
			kept = append(kept, u)
		}
	}
	return kept
}

// reportOnline sends a snapshot; one that fails is not repeated.
func (a *actor) reportOnline(ctx context.Context, online []meter.Online) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(a.entry().panel.Timeout))
	defer cancel()
	a.settleOnline(a.entry().client.ReportOnline(ctx, online))
}

// reportStatus tells the panel how the machine does, if it asks. A failure is the next report's business.
func (a *actor) reportStatus(ctx context.Context) {
	reporter, ok := a.entry().client.(StatusReporter)
	if !ok || a.svc.cfg.Machine == nil || a.away {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(a.entry().panel.Timeout))
	defer cancel()
	err := reporter.ReportStatus(ctx, a.svc.cfg.Machine.State(ctx, a.svc.cfg.Now()))
	if err == nil {
		if n := a.statusFold.ok(); n > 0 {
			a.say(slog.LevelInfo, "report status works again after %d failures", n)
		}
		return
	}
	class := classOf(err)
	a.away = class == Unreachable || class == Unclear
	a.heed(err)
	if line, ok := a.statusFold.fail(a.svc.cfg.Now(), err.Error()); ok {
		a.say(slog.LevelWarn, "%s", line)
	}
}

// checkpoint brings the counters to disk, unless the actor is history.
func (a *actor) checkpoint() {
	a.endMu.Lock()
	defer a.endMu.Unlock()
	if !a.ended {
		a.disk(a.outbox.Checkpoint())
	}
}

// end makes checkpoints do nothing: two actors that write one journal would lose what the other has in it.
func (a *actor) end() {
	a.endMu.Lock()
	defer a.endMu.Unlock()
	a.ended = true
}

// disk logs what the journal's disk says. The bytes are kept in memory meanwhile.
func (a *actor) disk(err error) {
	a.diskMu.Lock()
	defer a.diskMu.Unlock()
	now := a.svc.cfg.Now()
	if err == nil {
		if n := a.diskFold.ok(); n > 0 {
			a.say(slog.LevelInfo, "the traffic journal can be written again after %d failures", n)
		}
		return
	}
	if line, ok := a.diskFold.fail(now, err.Error()); ok {
		a.say(slog.LevelError, "traffic journal: %s; a crash would lose what is counted meanwhile", line)
	}
}

// last reports users of at least that many bytes until ctx ends; in any case the counters are on disk in the end. A panel that was
// away a moment ago is not asked: the journal is the safer place.
func (a *actor) last(ctx context.Context, least int64) (err error) {
	if !a.away && ctx.Err() == nil {
		guard(a.say, "last report", func() { err = a.reportTraffic(ctx, least, nil) }, func(time.Duration) {})
	}
	if err != nil {
		err = fmt.Errorf("%s: last %w", a.tag, err)
	}
	if diskErr := a.outbox.Checkpoint(); diskErr != nil {
		return diskErr
	}
	a.note()
	return err
}

// ambiguous is the policy in force.
func (s *Service) ambiguous() meter.Policy {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.policy
}

// size writes a number of bytes for people.
func size(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/unit, 0
	for ; f >= unit && i < len("kMGTPE")-1; i++ {
		f /= unit
	}
	return fmt.Sprintf("%.1f %cB", f, "kMGTPE"[i])
}

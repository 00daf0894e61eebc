package panel

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"time"

	"heki/internal/meter"
)

// rest is what goes along with the traffic in a merged report, or after it in calls of its own.
type rest struct {
	online []meter.Online
	merger Merger // nil: the panel takes the parts one by one
	sent   bool
}

// rest gathers what there is to tell beside traffic.
func (a *actor) rest() *rest {
	r := &rest{online: a.online()}
	r.merger, _ = a.entry().client.(Merger)
	return r
}

// deliver sends users' traffic, the first time with the rest of the report. The class of the error is about the
// traffic.
func (a *actor) deliver(ctx context.Context, users []meter.Traffic, r *rest) error {
	if r != nil && r.merger != nil && !r.sent {
		if err := a.merged(ctx, users, r); !errors.Is(err, ErrSeparate) {
			return err
		}
		r.merger = nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(a.entry().panel.Timeout))
	defer cancel()
	return a.entry().client.ReportTraffic(ctx, users)
}

// merged makes the one call.
func (a *actor) merged(ctx context.Context, users []meter.Traffic, r *rest) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(a.entry().panel.Timeout))
	defer cancel()
	report := Report{Traffic: users, Online: r.online, Metrics: a.metrics()}
	if m := a.svc.cfg.Machine; m != nil {
		state := m.State(ctx, a.svc.cfg.Now())
		report.State, report.Metrics.Load = &state, state.Load
	}
	err := r.merger.Report(ctx, &report)
	r.sent = err == nil
	return err
}

// reportRest tells what no traffic report took along. What fails is not repeated.
func (a *actor) reportRest(ctx context.Context, r *rest) {
	if r.sent {
		a.settleOnline(nil)
		return
	}
	if r.merger != nil { // nobody moved anything
		if err := a.merged(ctx, nil, r); !errors.Is(err, ErrSeparate) {
			a.settleOnline(err)
			return
		}
	}
	a.reportOnline(ctx, r.online)
	a.reportStatus(ctx)
}

// flow is what a node's users had moved at its last report.
type flow struct {
	at       time.Time
	up, down int64
}

// metrics are the node's figures now; speeds are since the call before.
func (a *actor) metrics() Metrics {
	now, s := a.svc.cfg.Now(), a.books.Stats()
	m := Metrics{
		Uptime: now.Sub(a.svc.began), Goroutines: runtime.NumGoroutine(), Serving: a.manager != nil,
		Conns: s.Conns, Opened: s.Opened, Users: s.Users, Online: s.Online,
	}
	if past := now.Sub(a.flow.at).Seconds(); !a.flow.at.IsZero() && past > 0 {
		m.InSpeed = max(float64(s.Up-a.flow.up)/past, 0)
		m.OutSpeed = max(float64(s.Down-a.flow.down)/past, 0)
	}
	a.flow = flow{now, s.Up, s.Down}
	return m
}

// settleOnline logs how a report of online addresses ended.
func (a *actor) settleOnline(err error) {
	if err == nil {
		if n := a.onlineFold.ok(); n > 0 {
			a.say(slog.LevelInfo, "report online works again after %d failures", n)
		}
		return
	}
	class := classOf(err)
	a.away = class == Unreachable || class == Unclear
	a.heed(err)
	if line, ok := a.onlineFold.fail(a.svc.cfg.Now(), err.Error()); ok {
		a.say(slog.LevelWarn, "%s; the next report has the state of then", line)
	}
}

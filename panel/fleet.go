package panel

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"heki/option"
)

// fleet keeps the nodes of one machine in step with the panel's list. Fields without a comment belong to
// its goroutine, or to whoever stopped that.
type fleet struct {
	svc  *Service
	conf atomic.Pointer[fleetEntry] // replaced while the goroutine is stopped
	file fleetFile

	list    []MachineNode // in force; changed while Service.turn is held, too
	wanted  []MachineNode // as the panel said last; nil: it said nothing yet
	wishes  MachineNodes  // the panel's intervals
	emptied bool          // the last answer had no nodes, after one that had: wait for a second one
	unsaved bool
	asked   bool // the panel was asked once, so the list on disk had its chance

	pulled     time.Time // the last good answer
	nextPull   time.Time
	nextStatus time.Time
	fails      int // in a row
	away       bool
	pullFold   fold
	statusFold fold
	openFold   fold
	missing    string // nodes of the configuration that the machine has not, as told

	kick chan struct{} // capacity 1: pull now
	news chan struct{} // capacity 1: the panel says that the list has changed

	life worker
}

// fleetEntry is one machine as the configuration has it.
type fleetEntry struct {
	panel  option.Panel // with its nodes, which hold settings for some of the machine's
	top    option.Limits
	client Machine
}

func newFleet(s *Service, e *fleetEntry) *fleet {
	f := &fleet{
		svc: s, kick: make(chan struct{}, 1), news: make(chan struct{}, 1),
		file: newFleetFile(s.cfg.StateDir, e.panel.Name),
	}
	f.conf.Store(e)
	return f
}

func (f *fleet) entry() *fleetEntry { return f.conf.Load() }

func (f *fleet) say(level slog.Level, format string, args ...any) {
	o := &f.entry().panel
	f.svc.log(level, fmt.Sprintf("panel %q machine %d: ", o.Name, o.MachineID), format, args...)
}

// wake asks for the list now.
func (f *fleet) wake() {
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// run pulls the list and reports the machine's state until ctx ends. Nothing that goes wrong ends it.
func (f *fleet) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var watching sync.WaitGroup
	defer watching.Wait()
	watched := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.kick:
			f.nextPull = f.svc.cfg.Now()
		case <-f.news:
			if soon := soonAfter(f.pulled, f.svc.cfg.Now()); soon.Before(f.nextPull) {
				f.nextPull = soon
			}
		case <-timer.C:
		}
		if now := f.svc.cfg.Now(); !now.Before(f.nextPull) {
			guard(f.say, "list of nodes", func() { f.pullStep(ctx) }, func(wait time.Duration) { f.nextPull = now.Add(wait) })
		}
		if now := f.svc.cfg.Now(); !now.Before(f.nextStatus) && !f.away && ctx.Err() == nil {
			guard(f.say, "report", func() { f.reportStep(ctx) }, func(wait time.Duration) { f.nextStatus = now.Add(wait) })
		}
		if !watched && !f.pulled.IsZero() {
			watched = true
			watching.Go(func() { watch(ctx, f.svc.cfg.Now, f.say, f.entry().client, f.tell) })
		}
		timer.Reset(f.pause())
	}
}

func (f *fleet) pause() time.Duration {
	next := f.nextPull
	if !f.away && f.nextStatus.Before(next) {
		next = f.nextStatus
	}
	return max(next.Sub(f.svc.cfg.Now()), 0)
}

// tell hands news to the node that they are about. After a connection was made, and when it is not said,
// they may be about every node.
func (f *fleet) tell(n News) {
	name := f.entry().panel.Name
	if n.Node > 0 {
		if a := f.svc.actor(Tag(name, n.Node)); a != nil {
			a.tell(n)
		}
		return
	}
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// pullStep is one pull and its consequences for the schedule and the log.
func (f *fleet) pullStep(ctx context.Context) {
	err := f.pull(ctx)
	if ctx.Err() != nil {
		return // stopping: the call was cut by us
	}
	now := f.svc.cfg.Now()
	class := classOf(err)
	f.away = class == Unreachable || class == Unclear
	if err == nil {
		if n := f.pullFold.ok(); n > 0 {
			f.say(slog.LevelInfo, "get nodes works again after %d failures", n)
		}
		f.fails, f.pulled, f.asked = 0, now, true
		f.nextPull = now.Add(jitter(f.pullInterval()))
		f.applyStep(ctx)
		return
	}
	f.fails++
	wait := jitter(backoff(min(firstBackoff, f.pullInterval()), f.fails))
	if !f.asked && f.wanted == nil {
		wait = f.fromFile(ctx, wait)
	}
	wait = max(wait, retryAfter(err))
	f.asked = true
	f.nextPull = now.Add(wait)
	if line, ok := f.pullFold.fail(now, err.Error()); ok {
		f.say(slog.LevelWarn, "%s; %d nodes go on, next try in %s", line, len(f.list), wait.Round(time.Second))
	}
}

// pull asks for the list. One without nodes after one that had some is not believed at once: it would
// close everything.
func (f *fleet) pull(ctx context.Context) error {
	timeout := time.Duration(f.entry().panel.Timeout)
	if !f.asked && f.file.exists() {
		timeout = min(timeout, firstLook)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, err := f.entry().client.Nodes(ctx)
	if err != nil {
		return err
	}
	f.wishes = MachineNodes{Pull: answer.Pull, Push: answer.Push}
	had := len(f.list)
	if f.wanted != nil {
		had = len(f.wanted)
	}
	if len(answer.Nodes) == 0 && had > 0 && !f.emptied {
		f.emptied = true
		f.say(slog.LevelWarn, "the panel answers with no nodes instead of %d; they stay until it says so again", had)
		return nil
	}
	f.emptied = false
	f.unsaved = f.unsaved || f.wanted == nil || !slices.Equal(f.wanted, answer.Nodes)
	f.wanted = append(make([]MachineNode, 0, len(answer.Nodes)), answer.Nodes...)
	return nil
}

// fromFile serves the list of the last run at start, when the panel cannot be asked: each node then starts
// from its own snapshot. It returns the wait until the next try.
func (f *fleet) fromFile(ctx context.Context, wait time.Duration) time.Duration {
	list, saved, err := f.file.load(f.entry().panel.MachineID)
	if err != nil {
		f.say(slog.LevelError, "%v", err)
	}
	if len(list) == 0 {
		return wait
	}
	f.wanted = list
	f.applyStep(ctx)
	f.say(slog.LevelWarn, "starting the %d nodes of %s until the panel answers", len(f.list), saved.Format(time.DateTime))
	return min(wait, time.Second)
}

// applyStep puts the wanted list in force and on disk.
func (f *fleet) applyStep(ctx context.Context) {
	if f.wanted == nil {
		return
	}
	err := f.svc.settle(ctx, f)
	if ctx.Err() != nil {
		return
	}
	now := f.svc.cfg.Now()
	if err == nil && f.unsaved && !f.pulled.IsZero() {
		if err = f.file.save(f.entry().panel.MachineID, f.wanted, now); err == nil {
			f.unsaved = false
		}
	}
	if err == nil {
		f.openFold.ok()
		return
	}
	if line, ok := f.openFold.fail(now, oneLine(err)); ok {
		f.say(slog.LevelError, "%s", line)
	}
}

// reportStep tells the panel how the machine does. A failure is the next report's business.
func (f *fleet) reportStep(ctx context.Context) {
	now := f.svc.cfg.Now()
	f.nextStatus = now.Add(jitter(f.reportInterval()))
	if f.svc.cfg.Machine == nil || f.pulled.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(f.entry().panel.Timeout))
	defer cancel()
	err := f.entry().client.ReportMachine(ctx, f.svc.cfg.Machine.State(ctx, now))
	if err == nil {
		if n := f.statusFold.ok(); n > 0 {
			f.say(slog.LevelInfo, "report machine works again after %d failures", n)
		}
		return
	}
	if wait := retryAfter(err); wait > 0 {
		f.nextStatus = now.Add(max(wait, f.nextStatus.Sub(now)))
	}
	if line, ok := f.statusFold.fail(now, err.Error()); ok && ctx.Err() == nil {
		f.say(slog.LevelWarn, "%s", line)
	}
}

// pullInterval is the configuration's, else the panel's, else the default.
func (f *fleet) pullInterval() time.Duration {
	return syncInterval(&f.entry().panel, f.wishes.Pull)
}

func (f *fleet) reportInterval() time.Duration {
	return reportInterval(&f.entry().panel, f.wishes.Push)
}

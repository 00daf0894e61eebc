package panel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"heki/adapter"
	"heki/constant"
	"heki/internal/meter"
	"heki/option"
)

const (
	firstBackoff = 10 * time.Second // after one failure; doubled up to five minutes
	firstLook    = 3 * time.Second  // for the panel at start, when a snapshot could serve meanwhile
)

// actor keeps one node in step. Fields without a comment belong to its goroutine, or to whoever
// stopped that.
type actor struct {
	tag      string
	svc      *Service
	conf     atomic.Pointer[entry] // replaced while the goroutine is stopped
	snapshot snapshot
	books    *meter.Node
	outbox   *meter.Outbox

	// What the panel said last, and what is in force.
	node     *Node
	accounts []adapter.Account
	known    bool // accounts are known
	emptied  bool // the last answer had no users, after one that had: wait for a second one
	dirty    bool // something wanted is not in force
	unsaved  bool
	asked    bool // the panel was asked once, so a snapshot had its chance
	inbound  option.Inbound
	manager  adapter.UserManager // nil: nothing is served
	roster   *meter.Roster       // published
	common   []Rule              // of every node of the panel
	routing  *Routing            // in force; nil: none was ever set
	problems string              // of the routing, as told

	synced      time.Time // the last time that everything was as the panel says
	nextSync    time.Time
	quiet       time.Time // the panel asked not to be called until then
	nextReport  time.Time
	nextHear    time.Time // when what was heard is looked at
	heard       bool
	syncFails   int // in a row, those that the panel is to blame for
	reportFails int
	away        bool // the last call was Unreachable or Unclear: nothing that counts is sent until one gets through
	syncFold    fold
	reportFold  fold
	onlineFold  fold
	deviceFold  fold
	statusFold  fold
	flow        flow // for speeds
	auditFold   fold

	diskMu   sync.Mutex
	diskFold fold // guarded by diskMu

	endMu sync.Mutex
	ended bool // guarded by endMu: removed, and its journal may be another actor's by now

	kick chan struct{} // capacity 1: sync now
	news inbox         // what the panel tells
	hits hits          // who met which rule since the last report

	life worker

	mu     sync.Mutex
	status Status // guarded by mu
}

// newActor opens the node's books and journal. What a former process left in flight is settled by the
// policy now.
func newActor(s *Service, e *entry) (*actor, error) {
	a := &actor{
		tag:      e.tag,
		svc:      s,
		snapshot: newSnapshot(s.cfg.StateDir, e.tag, e.node.ID),
		books:    s.cfg.Ledger.Node(e.tag, "panel/"+e.panel.Name),
		kick:     make(chan struct{}, 1),
		news:     inbox{bell: make(chan struct{}, 1)},
	}
	a.roster = meter.NewRoster(a.books)
	a.conf.Store(e)
	a.status = Status{Tag: e.tag, Panel: e.panel.Name, ID: e.node.ID}
	var err error
	if a.outbox, err = meter.OpenOutbox(meter.Dir(s.cfg.StateDir, e.tag), a.books); a.outbox == nil {
		return nil, err
	}
	if err != nil {
		a.say(slog.LevelError, "%v", err)
	}
	old, err := a.outbox.Recover(s.policy)
	if err != nil {
		return nil, err
	}
	for _, b := range old {
		a.say(slog.LevelWarn, "the last run ended during the report of %d users' %s; %s", len(b.Users), size(b.Bytes()), fate(s.policy))
	}
	if users, bytes := a.outbox.Backlog(); bytes > 0 {
		a.say(slog.LevelInfo, "%d users' %s of the last run go out with the next report", users, size(bytes))
	}
	return a, nil
}

func (a *actor) entry() *entry { return a.conf.Load() }

func (a *actor) say(level slog.Level, format string, args ...any) {
	a.svc.say(level, a.entry(), format, args...)
}

// start runs the actor unless it runs.
func (a *actor) start() { a.life.start(a.svc.hard, a.run) }

// stop ends the goroutine: a GET is cut, a report in flight is awaited.
func (a *actor) stop() { a.life.stop() }

// wake asks for a sync now.
func (a *actor) wake() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// run syncs and reports until ctx ends. Nothing that goes wrong ends it.
func (a *actor) run(ctx context.Context) {
	now := a.svc.cfg.Now()
	if a.nextReport.IsZero() {
		a.nextReport = now.Add(jitter(a.reportInterval()))
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var watching sync.WaitGroup
	defer watching.Wait()
	watched := a.entry().panel.MachineID != 0 // one connection tells of all nodes of a machine
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.kick:
			a.nextSync, a.quiet = a.svc.cfg.Now(), time.Time{}
		case <-a.news.bell:
			a.hear()
		case <-timer.C:
		}
		if a.heard && !a.svc.cfg.Now().Before(a.nextHear) {
			guard(a.say, "news", a.applyNews, func(time.Duration) { a.nextSync = a.svc.cfg.Now() })
		}
		if now = a.svc.cfg.Now(); !now.Before(a.quiet) && (!now.Before(a.nextSync) || a.fresh(now)) {
			guard(a.say, "sync", func() { a.syncStep(ctx) }, func(wait time.Duration) { a.nextSync = now.Add(wait) })
			a.hasten()
		}
		if now = a.svc.cfg.Now(); !now.Before(a.quiet) && !now.Before(a.nextReport) && !a.away && ctx.Err() == nil {
			guard(a.say, "report", func() { a.reportStep(a.svc.hard) }, func(wait time.Duration) { a.nextReport = now.Add(wait) })
		}
		a.note()
		if w, ok := a.entry().client.(Watcher); ok && !watched && !a.synced.IsZero() {
			watched = true
			watching.Go(func() { watch(ctx, a.svc.cfg.Now, a.say, w, a.tell) })
		}
		timer.Reset(a.pause())
	}
}

// freshFor is how old the list of users may be when a brittle panel is sent a report.
const freshFor = 5 * time.Second

// fresh tells whether the panel must be asked for its users before the report that is due: it breaks a
// report off at a user it no longer has.
func (a *actor) fresh(now time.Time) bool {
	_, brittle := a.entry().client.(Brittle)
	return brittle && !a.away && !now.Before(a.nextReport) && now.Sub(a.synced) > freshFor
}

// hasten brings the next report forward when the panel has just asked for more frequent ones, as it does
// with its first answer.
func (a *actor) hasten() {
	soon := a.svc.cfg.Now().Add(jitter(a.reportInterval()))
	if a.reportFails == 0 && soon.Before(a.nextReport) {
		a.nextReport = soon
	}
}

// heed notes what the panel asked for with a failure: whatever call it was about, none is made before.
func (a *actor) heed(err error) {
	if until := a.svc.cfg.Now().Add(retryAfter(err)); until.After(a.quiet) {
		a.quiet = until
	}
}

// pause is the time until something is due. While the panel is away a report waits for the sync that
// finds it back.
func (a *actor) pause() time.Duration {
	next := a.nextSync
	if !a.away && a.nextReport.Before(next) {
		next = a.nextReport
	}
	if next.Before(a.quiet) {
		next = a.quiet
	}
	if a.heard && a.nextHear.Before(next) {
		next = a.nextHear
	}
	return max(next.Sub(a.svc.cfg.Now()), 0)
}

// syncStep is one sync and its consequences for the schedule and the log.
func (a *actor) syncStep(ctx context.Context) {
	err := a.sync(ctx)
	if ctx.Err() != nil {
		return // stopping: the call was cut by us
	}
	now := a.svc.cfg.Now()
	class := classOf(err)
	a.away = class == Unreachable || class == Unclear
	a.heed(err)
	if err == nil {
		if n := a.syncFold.ok(); n > 0 {
			a.say(slog.LevelInfo, "sync works again after %d failures", n)
		}
		a.syncFails, a.synced = 0, now
		a.nextSync = now.Add(jitter(a.syncInterval()))
		a.setStatus(func(s *Status) { s.Synced, s.Err, s.FromSnapshot = now, "", false })
		a.devices(ctx)
		return
	}
	a.setStatus(func(s *Status) { s.Err = err.Error() })
	wait := a.syncInterval()
	if class != 0 {
		a.syncFails++
		wait = backoff(min(firstBackoff, wait), a.syncFails)
	} else {
		a.syncFails = 0 // the panel is well, what it says is not
	}
	wait = max(jitter(wait), retryAfter(err))
	if a.manager == nil && !a.asked {
		wait = a.fromSnapshot(wait)
	}
	a.asked = true
	a.nextSync = now.Add(wait)
	if line, ok := a.syncFold.fail(now, err.Error()); ok {
		a.say(slog.LevelWarn, "%s; %s, next try in %s", line, a.serving(), wait.Round(time.Second))
	}
}

// serving says what goes on meanwhile.
func (a *actor) serving() string {
	switch {
	case a.manager == nil:
		return "nothing is served"
	case a.dirty:
		return fmt.Sprintf("still serving the former settings to %d users", a.roster.Len())
	}
	return fmt.Sprintf("still serving %d users", a.roster.Len())
}

// fromSnapshot serves the last good settings and users at start, when the panel cannot be asked. It
// returns the wait until the next try.
func (a *actor) fromSnapshot(wait time.Duration) time.Duration {
	n, accounts, saved, err := a.snapshot.load()
	if errors.Is(err, errNoSnapshot) {
		return wait
	}
	if err != nil {
		a.say(slog.LevelError, "%v", err)
		return wait
	}
	if a.node == nil {
		a.node = n
	}
	if !a.known {
		a.accounts, a.known = accounts, true
	}
	if a.common == nil {
		if a.common, err = a.snapshot.loadRules(); err != nil {
			a.say(slog.LevelError, "%v", err)
		}
	}
	if err := a.apply(); err != nil {
		a.say(slog.LevelWarn, "snapshot of %s: %v", saved.Format(time.DateTime), err)
		return wait
	}
	a.setStatus(func(s *Status) { s.FromSnapshot = true })
	a.say(slog.LevelWarn, "serving %d users from the snapshot of %s until the panel answers", a.roster.Len(), saved.Format(time.DateTime))
	return min(wait, time.Second)
}

// syncInterval is the configuration's, else the panel's, else the default.
func (a *actor) syncInterval() time.Duration {
	var asked time.Duration
	if a.node != nil {
		asked = a.node.Pull
	}
	return syncInterval(&a.entry().panel, asked)
}

func (a *actor) reportInterval() time.Duration {
	var asked time.Duration
	if a.node != nil {
		asked = a.node.Push
	}
	return reportInterval(&a.entry().panel, asked)
}

// syncInterval is o's when the panel asked for one, or for none.
func syncInterval(o *option.Panel, asked time.Duration) time.Duration {
	return interval(time.Duration(o.SyncInterval), asked, constant.SyncInterval)
}

func reportInterval(o *option.Panel, asked time.Duration) time.Duration {
	return interval(time.Duration(o.ReportInterval), asked, constant.ReportInterval)
}

func interval(configured, asked, standard time.Duration) time.Duration {
	const least, most = 5 * time.Second, time.Hour
	switch {
	case configured > 0:
		return configured
	case asked > 0:
		return min(max(asked, least), most)
	}
	return standard
}

// jitter spreads nodes over time: d ± 10 %.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d - d/10 + rand.N(d/5+1)
}

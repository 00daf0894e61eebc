package panel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"heki/adapter"
	"heki/internal/meter"
	"heki/option"
)

// sync asks the panel and puts what it says in force. Settings and users that were fetched stay wanted
// when putting them in force fails: the next sync tries again without a new answer.
func (a *actor) sync(ctx context.Context) error {
	timeout := time.Duration(a.entry().panel.Timeout)
	if a.manager == nil && !a.asked && a.snapshot.exists() {
		timeout = min(timeout, firstLook)
	}
	if err := a.detect(ctx, timeout); err != nil {
		return join(err, a.applyPending())
	}
	errNode := a.fetchNode(ctx, timeout)
	if classOf(errNode) != 0 {
		return join(errNode, a.applyPending())
	}
	errUsers := a.fetchUsers(ctx, timeout)
	if classOf(errUsers) == 0 {
		errUsers = join(errUsers, a.fetchRules(ctx, timeout))
	}
	if a.node == nil || !a.known {
		return join(errNode, errUsers)
	}
	return join(errNode, errUsers, a.applyPending())
}

// detect puts the right client in place where the configuration does not say the panel's type.
func (a *actor) detect(ctx context.Context, timeout time.Duration) error {
	d, ok := a.entry().client.(Detector)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client, err := d.Detect(ctx)
	if err != nil {
		return err
	}
	e := *a.entry()
	e.client = client
	a.conf.Store(&e)
	return nil
}

// devices counts what users have on other machines against their limits. Without the panel's answer only
// this machine's addresses count.
func (a *actor) devices(ctx context.Context) {
	counter, ok := a.entry().client.(DeviceCounter)
	if !ok || !slices.ContainsFunc(a.accounts, func(u adapter.Account) bool { return u.IPLimit > 0 }) {
		return
	}
	limited, cancel := context.WithTimeout(ctx, time.Duration(a.entry().panel.Timeout))
	defer cancel()
	counts, err := counter.Devices(limited)
	a.books.SetElsewhere(counts)
	if err == nil {
		if n := a.deviceFold.ok(); n > 0 {
			a.say(slog.LevelInfo, "get devices works again after %d failures", n)
		}
		return
	}
	a.heed(err)
	if line, ok := a.deviceFold.fail(a.svc.cfg.Now(), err.Error()); ok && ctx.Err() == nil {
		a.say(slog.LevelWarn, "%s; IP limits count this machine's connections alone", line)
	}
}

// fetchRules asks for the rules that hold on every node. Without an answer the former ones stay.
func (a *actor) fetchRules(ctx context.Context, timeout time.Duration) error {
	source, ok := a.entry().client.(RuleSource)
	if !ok {
		if a.common != nil || a.synced.IsZero() { // the entry may have been another panel's before
			a.common = nil
			a.saveRules()
			if a.manager != nil {
				a.applyRouting()
			}
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	rules, err := source.Rules(ctx)
	switch {
	case errors.Is(err, ErrNotModified):
		return nil
	case err != nil:
		return err
	}
	changed := !reflect.DeepEqual(a.common, rules)
	a.common = rules
	if changed || len(rules) == 0 { // those on disk may be older than this process
		a.saveRules()
	}
	if a.manager != nil {
		a.applyRouting()
	}
	return nil
}

// saveRules keeps the panel's rules for a start without it. They are in force all the same.
func (a *actor) saveRules() {
	if err := a.snapshot.saveRules(a.common); err != nil {
		a.say(slog.LevelError, "%v", err)
	}
}

// fetchNode keeps the former settings wanted when the new ones cannot be had or served.
func (a *actor) fetchNode(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	n, err := a.entry().client.Node(ctx)
	switch {
	case errors.Is(err, ErrNotModified) && a.node != nil:
		return nil
	case err != nil:
		return err
	}
	if a.node == nil || !reflect.DeepEqual(a.node, n) {
		a.node, a.dirty, a.unsaved = n, true, true
	}
	return nil
}

// fetchUsers does not believe an empty list at once: a panel that just started or whose group was
// misconfigured for a minute would cut everybody.
func (a *actor) fetchUsers(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	accounts, err := a.entry().client.Users(ctx)
	switch {
	case errors.Is(err, ErrNotModified) && a.emptied:
		accounts = nil
	case errors.Is(err, ErrNotModified) && a.known:
		return nil
	case err != nil:
		return err
	}
	if len(accounts) == 0 && !a.known {
		a.recall()
	}
	if len(accounts) == 0 && len(a.accounts) > 0 && !a.emptied {
		a.emptied = true
		a.say(slog.LevelWarn, "the panel answers with no users instead of %d; they stay until it says so again", len(a.accounts))
		return nil
	}
	a.emptied = false
	if !a.known || !slices.Equal(a.accounts, accounts) {
		a.accounts, a.known, a.dirty, a.unsaved = accounts, true, true, true
	}
	return nil
}

// recall takes the users of the last run for the list that an empty one comes after.
func (a *actor) recall() {
	n, accounts, _, err := a.snapshot.load()
	if err == nil && len(accounts) > 0 && a.node != nil && n.Protocol == a.node.Protocol && n.Flow == a.node.Flow {
		a.accounts, a.known, a.dirty = accounts, true, true
	}
}

// applyPending applies what is wanted if it is not in force, and keeps it on disk.
func (a *actor) applyPending() error {
	if a.node == nil || !a.known || !a.dirty && !a.unsaved {
		return nil
	}
	if a.dirty {
		if err := a.apply(); err != nil {
			return err
		}
	}
	if a.unsaved {
		if err := a.snapshot.save(a.node, a.accounts, a.svc.cfg.Now()); err != nil {
			return err
		}
		a.unsaved = false
	}
	return nil
}

// apply puts the wanted settings and users in force: nothing, the users alone, or a new inbound for
// this tag.
func (a *actor) apply() error {
	in := a.build()
	p := a.roster.Plan(meter.Limited(a.accounts, &a.entry().limits))
	a.books.SetLimits(meter.LimitsOf(&a.entry().limits, a.node.SpeedBytes))
	rebuild := a.manager == nil || !reflect.DeepEqual(in, a.inbound)
	a.applyRouting() // before anybody connects by what it rules
	if rebuild {
		if err := a.rebuild(in, p); err != nil {
			return err
		}
	} else if err := a.swap(p); err != nil {
		return err
	}
	a.dirty = false
	return nil
}

// build makes the inbound that is wanted now.
func (a *actor) build() option.Inbound {
	e := a.entry()
	local := e.node
	local.Stream = e.stream
	local.Limits = &e.limits
	return build(a.tag, a.node, local)
}

// rebuild hands over to a new inbound. The host fills in defaults, so it gets its own copy.
func (a *actor) rebuild(in option.Inbound, p *meter.Plan) error {
	manager, err := a.svc.cfg.Host.Replace(a.build(), p.Users())
	if err == nil {
		a.manager, a.inbound = manager, in
		p.Commit()
		a.say(slog.LevelInfo, "serving %s on %s; %s", describe(a.node), a.node.place(), p)
		return nil
	}
	err = fmt.Errorf("serve %s on %s: %w%s", describe(a.node), a.node.place(), err, a.node.Cert.hint())
	if a.manager == nil {
		p.Abort()
		return err
	}
	return join(err, a.swap(p)) // the old one keeps serving, and not to users who are gone
}

// swap publishes the plan's users on the inbound in force.
func (a *actor) swap(p *meter.Plan) error {
	if p.Empty() {
		return nil
	}
	if err := a.manager.SwapUsers(p.Users()); err != nil {
		p.Abort()
		return fmt.Errorf("swap users: %w", err)
	}
	p.Commit()
	a.say(slog.LevelInfo, "%s", p)
	return nil
}

// applyRouting hands the routes of the node and the rules of the panel to the host. What cannot be followed
// must not stop a node.
func (a *actor) applyRouting() {
	routing, problems := a.node.Routing()
	if text := strings.Join(problems, "; "); text != a.problems {
		a.problems = text
		if text != "" {
			a.say(slog.LevelWarn, "routes: %s", text)
		}
	}
	routing.Rules = append(routing.Rules, a.common...)
	if a.routing == nil && reflect.DeepEqual(routing, Routing{}) || a.routing != nil && reflect.DeepEqual(routing, *a.routing) {
		return
	}
	if err := a.svc.cfg.Host.SetRouting(a.tag, routing); err != nil {
		a.say(slog.LevelWarn, "routes: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	a.routing = &routing
}

// join is errors.Join on one line.
func join(errs ...error) error {
	var all error
	for _, err := range errs {
		switch {
		case err == nil:
		case all == nil:
			all = err
		default:
			all = fmt.Errorf("%w; %w", all, err)
		}
	}
	return all
}

// describe says what a node speaks.
func describe(n *Node) string {
	text := n.Protocol
	if n.Network != "" {
		text += "+" + n.Network
	}
	switch n.TLS {
	case TLSOn:
		text += "+tls"
	case TLSReality:
		text += "+reality"
	}
	return text
}

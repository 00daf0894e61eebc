package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"heki/dns/upstream"
	"heki/option"
)

// server is an upstream and what is known of its health.
type server struct {
	upstream.Server
	tag      string
	address  string
	strategy string // of its answers; "" is the client's
	fixed    bool   // of the file: it stays
	log      *slog.Logger
	born     time.Time    // times below count from here, so that a change of the clock does no harm
	down     atomic.Int64 // nanoseconds until which it is asked last; 0 is healthy

	id   uint64 // guarded by Client.mu, as what follows
	sets int    // that hold it
}

func newServer(up upstream.Server, tag, address string, log *slog.Logger) *server {
	return &server{Server: up, tag: tag, address: address, log: log, born: time.Now()}
}

// systemAddress is the server address that means the system.
const systemAddress = option.DNSSystem

// addServers makes the servers of the file and finds those of final, or all, then the system.
func (c *Client) addServers(o option.DNS) (known map[string]*server, err error) {
	at := option.Path("dns")
	known = make(map[string]*server, len(o.Servers))
	var errs []error
	var system *server
	for i, s := range o.Servers {
		up, err := upstream.New(s.Address, c.find)
		if err != nil {
			errs = append(errs, at.Key("servers").Index(i).Key("address").Errorf("%w", err))
			continue
		}
		one := c.add(newServer(up, cmp.Or(s.Tag, s.Address), s.Address, c.log), s.Strategy)
		known[one.tag] = one
		if s.Address == systemAddress {
			system = one
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	list := slices.Clone(c.own)
	if len(o.Final) > 0 {
		if list, err = byTags(at.Key("final"), o.Final, known); err != nil {
			return nil, err
		}
	}
	if system == nil {
		up, err := upstream.New(systemAddress, nil)
		if err != nil {
			return nil, err
		}
		system = c.add(newServer(up, systemAddress, systemAddress, c.log), "")
	}
	if !slices.Contains(list, system) {
		list = append(list, system)
	}
	c.finish(list)
	return known, nil
}

// add takes a server of the file in.
func (c *Client) add(s *server, strategy string) *server {
	s.fixed, s.strategy = true, strategy
	c.pool.addLocked(s) // nobody else knows c yet
	c.own = append(c.own, s)
	return s
}

// finish sets the servers that are asked without a rule.
func (c *Client) finish(defaults []*server) {
	var list []wish
	for _, s := range defaults {
		list = append(list, c.wish(s, ""))
	}
	c.defaults, c.final = defaults, c.pool.setLocked(list)
}

func byTags(at option.Path, tags []string, known map[string]*server) ([]*server, error) {
	var list []*server
	for i, tag := range tags {
		if known[tag] == nil {
			return nil, at.Index(i).Errorf("no server has the tag %q", tag)
		}
		list = append(list, known[tag])
	}
	return list, nil
}

// addRules compiles the rules of the file.
func (c *Client) addRules(o option.DNS, known map[string]*server, compile Compile) error {
	var errs []error
	for i, r := range o.Rules {
		at := option.Path("dns").Key("rules").Index(i)
		match, err := compile(at.Key("match"), r.Match)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		servers, err := byTags(at.Key("servers"), r.Servers, known)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		var first []wish
		for _, s := range servers {
			first = append(first, c.wish(s, r.Strategy))
		}
		c.rules = append(c.rules, rule{match, c.pool.setLocked(c.withStandIns(first, r.Strategy))})
	}
	return errors.Join(errs...)
}

// ask asks the servers in order, each within its share of the time that is left, until one answers.
// More servers, besides those of l, are to have a share.
func (l *leg) ask(ctx context.Context, name string, ipv6 bool, more int) (upstream.Answer, error) {
	order := l.order()
	var errs serverErrors
	for i, s := range order {
		answer, err := s.ask(ctx, name, ipv6, len(order)-i+more)
		if err == nil {
			return answer, nil
		}
		errs = append(errs, fmt.Errorf("dns server %s: %w", s.tag, err))
		if ctx.Err() != nil {
			break
		}
	}
	return upstream.Answer{}, errs
}

// serverErrors is why each server had no answer, on one line.
type serverErrors []error

func (e serverErrors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap lets errors.Is look inside.
func (e serverErrors) Unwrap() []error { return e }

// ask takes its share of the time of ctx, of which left servers are to have some.
func (s *server) ask(ctx context.Context, name string, ipv6 bool, left int) (upstream.Answer, error) {
	share := ctx
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		share, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	answer, err := s.Lookup(share, name, ipv6)
	var refused *upstream.RcodeError
	switch {
	case err == nil, errors.As(err, &refused): // it lives, whatever it thinks of this name
		if s.down.Swap(0) != 0 {
			s.log.Info("dns server answers again", slog.String("server", s.tag))
		}
	case errors.Is(ctx.Err(), context.Canceled): // nobody's fault
	default:
		if s.down.Swap(int64(time.Since(s.born)+downFor)) == 0 {
			s.log.Warn("dns server does not answer, others are asked first", slog.String("server", s.tag), slog.Any("err", err))
		}
	}
	return answer, err
}

// order returns the servers, those that did not answer lately last.
func (l *leg) order() []*server {
	list, late := make([]*server, 0, len(l.servers)), []*server(nil)
	for _, s := range l.servers {
		if s.late() {
			late = append(late, s)
		} else {
			list = append(list, s)
		}
	}
	return append(list, late...)
}

// late says that s did not answer lately.
func (s *server) late() bool { return s.down.Load() > int64(time.Since(s.born)) }

// order returns the legs, those without a server that answered lately last.
func (s *set) order() []*leg {
	list, late := make([]*leg, 0, len(s.legs)), []*leg(nil)
	for i := range s.legs {
		l := &s.legs[i]
		if slices.ContainsFunc(l.servers, func(one *server) bool { return !one.late() }) {
			list = append(list, l)
		} else {
			late = append(late, l)
		}
	}
	return append(list, late...)
}

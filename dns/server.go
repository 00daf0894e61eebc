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
	tag  string
	log  *slog.Logger
	born time.Time    // times below count from here, so that a change of the clock does no harm
	down atomic.Int64 // nanoseconds until which it is asked last; 0 is healthy
}

func newServer(up upstream.Server, tag string, log *slog.Logger) *server {
	return &server{Server: up, tag: tag, log: log, born: time.Now()}
}

// systemAddress is the server address that means the system.
const systemAddress = "system"

// newServers makes the servers in the order they are asked: those of final or all, then the system.
func newServers(o option.DNS, log *slog.Logger) ([]*server, error) {
	at := option.Path("dns")
	known := make(map[string]*server, len(o.Servers))
	var list []*server
	var errs []error
	var system *server
	for i, s := range o.Servers {
		up, err := upstream.New(s.Address)
		if err != nil {
			errs = append(errs, at.Key("servers").Index(i).Key("address").Errorf("%w", err))
			continue
		}
		one := newServer(up, cmp.Or(s.Tag, s.Address), log)
		known[one.tag] = one
		list = append(list, one)
		if s.Address == systemAddress {
			system = one
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if len(o.Final) > 0 {
		list = nil
	}
	for i, tag := range o.Final {
		if known[tag] == nil {
			return nil, at.Key("final").Index(i).Errorf("no server has the tag %q", tag)
		}
		list = append(list, known[tag])
	}
	if system == nil {
		up, err := upstream.New(systemAddress)
		if err != nil {
			return nil, err
		}
		system = newServer(up, systemAddress, log)
	}
	if !slices.Contains(list, system) {
		list = append(list, system)
	}
	return list, nil
}

// ask asks the servers in order, each within its share of the time that is left, until one answers.
func (c *Client) ask(ctx context.Context, name string, ipv6 bool) (upstream.Answer, error) {
	order := c.order()
	var errs serverErrors
	for i, s := range order {
		answer, err := s.ask(ctx, name, ipv6, len(order)-i)
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
func (c *Client) order() []*server {
	list, late := make([]*server, 0, len(c.servers)), []*server(nil)
	for _, s := range c.servers {
		if s.down.Load() > int64(time.Since(s.born)) {
			late = append(late, s)
		} else {
			list = append(list, s)
		}
	}
	return append(list, late...)
}

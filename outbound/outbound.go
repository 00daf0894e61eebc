// Package outbound reaches destinations. Each way is one folder below it.
package outbound

import (
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strings"
	"time"

	"heki/adapter"
	"heki/constant"
	"heki/option"
)

// Env is what an outbound needs of its surroundings.
type Env struct {
	Resolver adapter.Resolver
	Log      *slog.Logger
	// Now is the corrected clock, for protocols that compare times with their servers. Nil is
	// time.Now; see Time.
	Now func() time.Time
}

// Time is the time by the corrected clock.
func (e *Env) Time() time.Time {
	if e.Now == nil {
		return time.Now()
	}
	return e.Now()
}

// Joiner is an outbound that uses others.
type Joiner interface {
	// Join lets it find the others by tag, once, before it is used. get returns nil for a tag that no
	// outbound has.
	Join(get func(tag string) adapter.Outbound) error
}

// Constructor builds an outbound from validated options.
type Constructor func(env Env, tag string, o option.OutboundOptions) (adapter.Outbound, error)

// Registry knows how each type is built.
type Registry struct {
	types map[string]Constructor
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{types: make(map[string]Constructor)} }

// Register ties a type name to its option struct and constructor. A second registration of a name is
// a mistake of the program and panics.
func Register[O option.OutboundOptions](r *Registry, typ string, build func(Env, string, O) (adapter.Outbound, error)) {
	if _, dup := r.types[typ]; dup {
		panic("outbound type registered twice: " + typ)
	}
	r.types[typ] = func(env Env, tag string, o option.OutboundOptions) (adapter.Outbound, error) {
		typed, ok := o.(O)
		if !ok {
			return nil, fmt.Errorf("outbound %q: options of %q are %T", tag, typ, o)
		}
		return build(env, tag, typed)
	}
}

// New builds the outbound that out describes.
func (r *Registry) New(env Env, out option.Outbound) (adapter.Outbound, error) {
	build, ok := r.types[out.Type]
	if !ok {
		names := make([]string, 0, len(r.types))
		for name := range r.types {
			names = append(names, name)
		}
		sort.Strings(names)
		return nil, fmt.Errorf("outbound %q: type %q is not served; served: %s", out.Tag, out.Type, strings.Join(names, ", "))
	}
	built, err := build(env, out.Tag, out.Options)
	if err != nil {
		return nil, fmt.Errorf("outbound %q: %w", out.Tag, err)
	}
	return built, nil
}

// Set is the outbounds of one configuration by tag. It never changes. What is got of it can be taken into
// use: connections live on when the set is closed, and those that they share with others too.
type Set struct {
	byTag map[string]*member
	all   *Shared
}

// member is an outbound of a set. Who uses it may use others, a group's, so that its use is one of the set.
type member struct {
	adapter.Outbound
	set *Shared
}

// Take notes one more use, unless the set is closed and nobody uses it.
func (m *member) Take() bool { return m.set.Take() }

// Release ends one use.
func (m *member) Release() { m.set.Release() }

// NewSet builds all of outs, and the implicit "direct" and "block" where the configuration has no
// outbound of that tag.
func NewSet(r *Registry, env Env, outs []option.Outbound) (*Set, error) {
	s := &Set{byTag: make(map[string]*member)}
	s.all = Share(closer{set: s})
	all := append([]option.Outbound{
		{Type: constant.TypeDirect, Tag: constant.TypeDirect, Options: new(option.Direct)},
		{Type: constant.TypeBlock, Tag: constant.TypeBlock, Options: new(option.Block)},
	}, outs...)
	for _, o := range all {
		built, err := r.New(env, o)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		if old := s.byTag[o.Tag]; old != nil {
			_ = old.Close()
		}
		s.byTag[o.Tag] = &member{built, s.all}
	}
	for _, m := range s.byTag {
		if j, ok := m.Outbound.(Joiner); ok {
			if err := j.Join(s.Get); err != nil {
				return nil, errors.Join(fmt.Errorf("outbound %q: %w", m.Tag(), err), s.Close())
			}
		}
	}
	return s, nil
}

// Get returns the outbound of that tag, or nil.
func (s *Set) Get(tag string) adapter.Outbound {
	if m := s.byTag[tag]; m != nil {
		return m
	}
	return nil
}

// Close takes the set out of service: Joiners close now, the others with the last use.
func (s *Set) Close() error {
	var errs []error
	for _, m := range s.byTag {
		if _, ok := m.Outbound.(Joiner); ok {
			errs = append(errs, m.Close())
		}
	}
	s.all.Release()
	return errors.Join(errs...)
}

// closer is a set's last use.
type closer struct {
	adapter.Outbound // none: nobody dials by it
	set              *Set
}

// Close closes those that do not close at once.
func (c closer) Close() error {
	var errs []error
	for _, m := range c.set.byTag {
		if _, ok := m.Outbound.(Joiner); !ok {
			errs = append(errs, m.Close())
		}
	}
	return errors.Join(errs...)
}

// Package inbound accepts clients. A protocol is one folder below it that authenticates a stream and
// hands it to the router; everything around that is here: listening, TLS and transports (Stream),
// the user set that is swapped whole (Table), reading a header (ReadHeader), and what becomes of
// those who are not users (Reject).
package inbound

import (
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strings"
	"time"

	"heki/adapter"
	"heki/option"
	"heki/transport/tcp"
	"heki/transport/tls"
	"heki/transport/udp"
)

// Env is what an inbound needs of its surroundings.
type Env struct {
	Router    adapter.Router
	Listeners *tcp.Pool
	Packets   *udp.Pool // nil: sockets of each inbound's own
	Log       *slog.Logger
	// Certificates has those of tls.acme and tls.self_signed. Nil: none can be had.
	Certificates tls.Source
	// Now is the corrected clock, for protocols that compare times with their clients. Nil is
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

// Constructor builds an inbound from validated options. It binds nothing yet.
type Constructor func(env Env, tag string, o option.InboundOptions) (adapter.Inbound, error)

// Registry knows how each type is built.
type Registry struct {
	types map[string]Constructor
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{types: make(map[string]Constructor)} }

// Register ties a type name to its option struct and constructor. A second registration of a name is
// a mistake of the program and panics.
func Register[O option.InboundOptions](r *Registry, typ string, build func(Env, string, O) (adapter.Inbound, error)) {
	if _, dup := r.types[typ]; dup {
		panic("inbound type registered twice: " + typ)
	}
	r.types[typ] = func(env Env, tag string, o option.InboundOptions) (adapter.Inbound, error) {
		typed, ok := o.(O)
		if !ok {
			return nil, fmt.Errorf("inbound %q: options of %q are %T", tag, typ, o)
		}
		return build(env, tag, typed)
	}
}

// New builds the inbound that in describes.
func (r *Registry) New(env Env, in option.Inbound) (adapter.Inbound, error) {
	build, ok := r.types[in.Type]
	if !ok {
		return nil, fmt.Errorf("inbound %q: type %q is not served; served: %s", in.Tag, in.Type, strings.Join(r.Types(), ", "))
	}
	built, err := build(env, in.Tag, in.Options)
	if err != nil {
		return nil, fmt.Errorf("inbound %q: %w", in.Tag, err)
	}
	return built, nil
}

// Types returns the registered names in order.
func (r *Registry) Types() []string {
	names := make([]string, 0, len(r.types))
	for name := range r.types {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Errors of clients that are not users. All end the same way: see Stream.
var (
	ErrUnknownUser = errors.New("unknown user")
	ErrBadFlow     = errors.New("flow not allowed for the user")
)

// Rejected is returned by a protocol for a stream that is not a user's: it is still open and nothing
// of it is consumed, so that the chassis can pass it to the fallback or answer as a web server would.
type Rejected struct{ Reason error }

func (r *Rejected) Error() string { return "rejected: " + r.Reason.Error() }

// Unwrap returns the reason.
func (r *Rejected) Unwrap() error { return r.Reason }

// Reject says that a stream is not a user's.
func Reject(reason error) error { return &Rejected{Reason: reason} }

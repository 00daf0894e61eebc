// Package group spreads connections over other outbounds: one is picked for each, the next is asked
// where that cannot connect, and those that do not work come last.
package group

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/constant"
	"heki/option"
	"heki/outbound"
)

// Group is an outbound of outbounds.
type Group struct {
	tag      string
	tags     []string
	pick     string
	failover bool
	check    *checker // nil: none
	members  []*member
	turn     atomic.Uint64 // of round_robin, and of least_conn among equals
}

// member is an outbound of a group.
type member struct {
	adapter.Outbound
	path    string // "group/member", for logs
	seed    uint64 // of its tag
	conns   atomic.Int64
	down    atomic.Bool  // the last check failed
	latency atomic.Int64 // nanoseconds, smoothed; 0 before the first good check
}

// Register adds the type to r.
func Register(r *outbound.Registry) { outbound.Register(r, constant.TypeGroup, New) }

// New builds the group, which has no members before Join.
func New(env outbound.Env, tag string, o *option.Group) (adapter.Outbound, error) {
	g := &Group{tag: tag, tags: o.Outbounds, pick: o.Pick, failover: o.Failover}
	if o.Check != nil {
		var err error
		if g.check, err = newChecker(env.Log, tag, o.Check); err != nil {
			return nil, fmt.Errorf("check: %w", err)
		}
	}
	return g, nil
}

// Join implements outbound.Joiner. It starts the check.
func (g *Group) Join(get func(tag string) adapter.Outbound) error {
	for _, tag := range g.tags {
		out := get(tag)
		if out == nil {
			return fmt.Errorf("no outbound has the tag %q", tag)
		}
		g.members = append(g.members, &member{Outbound: out, path: g.tag + "/" + tag, seed: hashText(basis, tag)})
	}
	if g.check != nil {
		g.check.start(g.members)
	}
	return nil
}

// Tag implements adapter.Outbound.
func (g *Group) Tag() string { return g.tag }

// Close ends the check. The members are not the group's.
func (g *Group) Close() error {
	if g.check != nil {
		g.check.stop()
	}
	return nil
}

// Dial implements adapter.Outbound.
func (g *Group) Dial(ctx context.Context, md *adapter.Metadata) (net.Conn, error) {
	conn, m, err := try(ctx, g, md, adapter.Outbound.Dial)
	if err != nil {
		return nil, err
	}
	if g.pick == option.PickLeastConn {
		conn = &countedConn{Conn: conn, use: newUse(m)}
	}
	return conn, nil
}

// ListenPacket implements adapter.Outbound.
func (g *Group) ListenPacket(ctx context.Context, md *adapter.Metadata) (N.PacketConn, error) {
	conn, m, err := try(ctx, g, md, adapter.Outbound.ListenPacket)
	if err != nil {
		return nil, err
	}
	if g.pick == option.PickLeastConn {
		conn = countPackets(conn, newUse(m))
	}
	return conn, nil
}

var errNotJoined = errors.New("the group has no members")

// try asks one member after the other, all that there are with failover, until one connects. Nothing of
// the client's was sent before.
func try[T any](ctx context.Context, g *Group, md *adapter.Metadata, dial func(adapter.Outbound, context.Context, *adapter.Metadata) (T, error)) (T, *member, error) {
	var none T
	if len(g.members) == 0 {
		return none, nil, errNotJoined
	}
	var errs []error
	start, tried := g.start(md), uint64(0)
	for range g.members {
		i := g.next(start, tried)
		m := g.members[i]
		tried |= 1 << i
		md.Outbound = m.path
		conn, err := dial(m.Outbound, ctx, md)
		if err == nil {
			return conn, m, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", m.Tag(), err))
		if !g.failover || ctx.Err() != nil {
			break
		}
	}
	return none, nil, errors.Join(errs...)
}

var (
	_ adapter.Outbound = (*Group)(nil)
	_ outbound.Joiner  = (*Group)(nil)
)

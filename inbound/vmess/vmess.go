// Package vmess answers VMess clients, both those that authenticate with AEAD and those with MD5.
package vmess

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"heki/adapter"
	"heki/constant"
	"heki/inbound"
	"heki/inbound/internal/match"
	"heki/internal/netio"
	"heki/internal/protocol/vmess"
	"heki/option"
)

// Inbound is a VMess server.
type Inbound struct {
	*inbound.Stream
	dispatcher *inbound.Dispatcher
	log        *slog.Logger
	env        inbound.Env
	mode       mode
	patience   time.Duration // for a turn to scan
	memory     *Memory
	users      atomic.Pointer[set]
	recent     match.Recent[keys, *keys]
	legacy     legacyTable
	clockNoted atomic.Int64 // when a wrong clock was last logged, unix seconds
}

// Register adds the type to r. All its inbounds share m, which outlives each of them.
func Register(r *inbound.Registry, m *Memory) {
	inbound.Register(r, constant.TypeVMess, func(env inbound.Env, tag string, o *option.VMess) (adapter.Inbound, error) {
		return New(env, tag, o, m)
	})
}

// New builds the inbound. It serves nobody before SwapUsers.
func New(env inbound.Env, tag string, o *option.VMess, m *Memory) (*Inbound, error) {
	in := &Inbound{
		dispatcher: inbound.NewDispatcher(env, &o.Stream), log: env.Log.With("inbound", tag), env: env,
		mode:     mode{legacy: o.Legacy, forceAEAD: o.ForceAEAD, forceLegacy: o.ForceLegacy},
		patience: time.Duration(o.HandshakeTimeout), memory: m,
	}
	if in.patience <= 0 {
		in.patience = constant.HandshakeTimeout
	}
	in.users.Store(new(set))
	var err error
	in.Stream, err = inbound.NewStream(env, tag, constant.TypeVMess, &o.Stream, in)
	if err != nil {
		return nil, err
	}
	return in, nil
}

// ServeStream implements inbound.Handler.
func (in *Inbound) ServeStream(ctx context.Context, conn *netio.Conn, md *adapter.Metadata) error {
	a := attempt{in: in, ctx: ctx, md: md}
	req, err := inbound.ReadHeader(conn, a.parse, vmess.ErrShort)
	if err != nil {
		return err
	}
	md.User, md.Destination = a.who.user, req.Destination
	c := vmess.NewServerConn(conn, vmess.Session{Request: req, Legacy: a.legacy}, netio.Pool{})
	defer c.Drop()
	if req.Command == vmess.CommandUDP {
		return in.dispatcher.Packets(ctx, vmess.NewPacketConn(c, req.Destination), md)
	}
	stream := netio.NewConn(c) // looks ahead in what was decrypted
	defer stream.Drop()
	return in.dispatcher.Stream(ctx, stream, md)
}

// SwapUsers implements adapter.UserManager.
func (in *Inbound) SwapUsers(users []*adapter.User) error {
	next, err := newSet(in.users.Load(), users, in.mode)
	if err != nil {
		return err
	}
	if err := in.legacy.update(next.legacy()); err != nil {
		return err
	}
	in.users.Store(next)
	return nil
}

// Close implements adapter.Inbound.
func (in *Inbound) Close() error {
	err := in.Stream.Close()
	in.dispatcher.Close()
	return err
}

var (
	_ adapter.Inbound     = (*Inbound)(nil)
	_ adapter.UserManager = (*Inbound)(nil)
	_ inbound.Handler     = (*Inbound)(nil)
)

// Package vless answers VLESS clients.
package vless

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"heki/adapter"
	"heki/constant"
	"heki/inbound"
	"heki/internal/netio"
	"heki/internal/protocol/vless"
	"heki/internal/protocol/wire"
	"heki/option"
)

// Inbound is a VLESS server.
type Inbound struct {
	*inbound.Stream
	dispatcher *inbound.Dispatcher
	log        *slog.Logger
	users      inbound.Table[vless.UUID]
}

// Register adds the type to r.
func Register(r *inbound.Registry) { inbound.Register(r, constant.TypeVLESS, New) }

// New builds the inbound. It serves nobody before SwapUsers.
func New(env inbound.Env, tag string, o *option.VLESS) (adapter.Inbound, error) {
	in := &Inbound{dispatcher: inbound.NewDispatcher(env, &o.Stream), log: env.Log.With("inbound", tag)}
	var err error
	in.Stream, err = inbound.NewStream(env, tag, constant.TypeVLESS, &o.Stream, in)
	if err != nil {
		return nil, err
	}
	return in, nil
}

// request is an authenticated request.
type request struct {
	vless.Request
	user *adapter.User
}

// ServeStream implements inbound.Handler.
func (in *Inbound) ServeStream(ctx context.Context, conn *netio.Conn, md *adapter.Metadata) error {
	req, err := inbound.ReadHeader(conn, func(b []byte) (request, int, error) { return in.authenticate(b, conn, md) }, vless.ErrShort)
	if err != nil {
		return err
	}
	md.User, md.Destination = req.user, req.Destination
	switch {
	case req.Flow != "":
		return in.serveVision(ctx, conn, req.Request, md)
	case req.Command == vless.CommandUDP:
		return in.dispatcher.Packets(ctx, vless.NewPacketConn(conn, req.Destination), md)
	}
	return in.route(ctx, vless.NewServerConn(conn), req.Request, md)
}

// route hands over a stream. In Mux.Cool with Vision, or instead of it, there are packets only.
func (in *Inbound) route(ctx context.Context, conn wire.Conn, req vless.Request, md *adapter.Metadata) error {
	if req.Command == vless.CommandMux && md.User.Flow != "" {
		return in.dispatcher.PacketsOnly(ctx, conn, md)
	}
	return in.dispatcher.Stream(ctx, conn, md)
}

// authenticate finds the user of the request at the start of b, before any of it is consumed.
func (in *Inbound) authenticate(b []byte, conn *netio.Conn, md *adapter.Metadata) (request, int, error) {
	req, n, err := vless.ParseRequest(b)
	if err != nil {
		return request{}, 0, err
	}
	user, ok := in.users.Lookup(vless.RouteKey(req.UUID))
	if !ok {
		return request{}, 0, inbound.ErrUnknownUser
	}
	if err := in.checkFlow(req, user, b[n:], conn, md); err != nil {
		return request{}, 0, err
	}
	return request{req, user}, n, nil
}

// SwapUsers implements adapter.UserManager.
func (in *Inbound) SwapUsers(users []*adapter.User) error {
	return in.users.Swap(users, func(u *adapter.User) (vless.UUID, error) {
		if u.UUID == (vless.UUID{}) {
			return vless.UUID{}, errors.New("has no uuid")
		}
		if u.Flow != "" && u.Flow != vless.FlowVision {
			return vless.UUID{}, fmt.Errorf("has flow %q, must be %q or none", u.Flow, vless.FlowVision)
		}
		return vless.RouteKey(u.UUID), nil
	})
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

// Package trojan answers Trojan clients.
package trojan

import (
	"context"
	"errors"

	"heki/adapter"
	"heki/constant"
	"heki/inbound"
	"heki/internal/netio"
	"heki/internal/protocol/trojan"
	"heki/option"
)

// Inbound is a Trojan server.
type Inbound struct {
	*inbound.Stream
	dispatcher *inbound.Dispatcher
	users      inbound.Table[trojan.Key]
}

// Register adds the type to r.
func Register(r *inbound.Registry) { inbound.Register(r, constant.TypeTrojan, New) }

// New builds the inbound. It serves nobody before SwapUsers.
func New(env inbound.Env, tag string, o *option.Trojan) (adapter.Inbound, error) {
	in := &Inbound{dispatcher: inbound.NewDispatcher(env, &o.Stream)}
	var err error
	in.Stream, err = inbound.NewStream(env, tag, constant.TypeTrojan, &o.Stream, in)
	if err != nil {
		return nil, err
	}
	return in, nil
}

// request is an authenticated request.
type request struct {
	trojan.Request
	user *adapter.User
}

// ServeStream implements inbound.Handler.
func (in *Inbound) ServeStream(ctx context.Context, conn *netio.Conn, md *adapter.Metadata) error {
	req, err := inbound.ReadHeader(conn, in.authenticate, trojan.ErrShort)
	if err != nil {
		return err
	}
	md.User, md.Destination = req.user, req.Destination
	if req.Command == trojan.CommandUDP {
		return in.dispatcher.Packets(ctx, trojan.NewPacketConn(conn), md)
	}
	return in.dispatcher.Stream(ctx, conn, md)
}

// authenticate finds the user of the request at the start of b, before any of it is consumed.
func (in *Inbound) authenticate(b []byte) (request, int, error) {
	req, n, err := trojan.ParseRequest(b)
	if err != nil {
		return request{}, 0, err
	}
	user, ok := in.users.Lookup(req.Key)
	if !ok {
		return request{}, 0, inbound.ErrUnknownUser
	}
	return request{req, user}, n, nil
}

// SwapUsers implements adapter.UserManager.
func (in *Inbound) SwapUsers(users []*adapter.User) error {
	return in.users.Swap(users, func(u *adapter.User) (trojan.Key, error) {
		if u.Password == "" {
			return trojan.Key{}, errors.New("has no password")
		}
		return trojan.KeyOf(u.Password), nil
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

// Package anytls answers AnyTLS clients.
package anytls

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"heki/adapter"
	"heki/constant"
	"heki/inbound"
	"heki/internal/netio"
	"heki/internal/protocol/anytls"
	"heki/internal/protocol/wire"
	"heki/option"
)

// Inbound is an AnyTLS server.
type Inbound struct {
	*inbound.Stream
	dispatcher *inbound.Dispatcher
	secure     bool // inside TLS
	scheme     *anytls.Scheme
	users      inbound.Table[anytls.Key]
	sessions   inbound.Live[anytls.Key]
}

// Register adds the type to r.
func Register(r *inbound.Registry) { inbound.Register(r, constant.TypeAnyTLS, New) }

// New builds the inbound. It serves nobody before SwapUsers.
func New(env inbound.Env, tag string, o *option.AnyTLS) (adapter.Inbound, error) {
	in := &Inbound{
		dispatcher: inbound.NewDispatcher(env, &o.Stream),
		secure:     o.TLS != nil && o.TLS.Enabled,
		scheme:     anytls.DefaultScheme(),
	}
	var err error
	if len(o.PaddingScheme) > 0 {
		if in.scheme, err = anytls.ParseScheme(strings.Join(o.PaddingScheme, "\n")); err != nil {
			return nil, fmt.Errorf("padding_scheme: %w", err)
		}
	}
	in.Stream, err = inbound.NewStream(env, tag, constant.TypeAnyTLS, &o.Stream, in)
	if err != nil {
		return nil, err
	}
	return in, nil
}

// request is an authenticated session.
type request struct {
	anytls.Auth
	user *adapter.User
}

// ServeStream implements inbound.Handler.
func (in *Inbound) ServeStream(ctx context.Context, conn *netio.Conn, md *adapter.Metadata) error {
	req, err := inbound.ReadHeader(conn, in.authenticate, anytls.ErrShort)
	if err != nil {
		return err
	}
	md.User = req.user
	return in.dispatcher.Muxed(ctx, md, func(ctx context.Context, h *inbound.MuxHandler) error {
		defer in.sessions.Enter(&in.users, req.Key, req.user, h.End)()
		return anytls.Serve(ctx, conn, req.Padding, anytls.Options{
			Handler: h,
			Ahead:   func(c net.Conn) wire.Conn { return netio.NewConn(c) },
			Scheme:  in.scheme,
		})
	})
}

// errNotAtOnce rejects those who send less at first than a key has.
var errNotAtOnce = errors.New("shorter than a key")

// authenticate finds the user of the session that starts with b, before any of it is consumed.
//
// Clients send the key in one record. Who sends less inside TLS is answered as by a web server now: to
// wait for more would tell us from one, and to look at the first bytes would let keys be guessed one
// byte at a time.
func (in *Inbound) authenticate(b []byte) (request, int, error) {
	auth, n, err := anytls.ParseAuth(b)
	if err != nil {
		if in.secure {
			err = errNotAtOnce
		}
		return request{}, 0, err
	}
	user, ok := in.users.Lookup(auth.Key)
	if !ok {
		return request{}, 0, inbound.ErrUnknownUser
	}
	return request{auth, user}, n, nil
}

// SwapUsers implements adapter.UserManager. It ends the sessions of users who are gone.
func (in *Inbound) SwapUsers(users []*adapter.User) error {
	err := in.users.Swap(users, func(u *adapter.User) (anytls.Key, error) {
		if u.Password == "" {
			return anytls.Key{}, errors.New("has no password")
		}
		return anytls.KeyOf(u.Password), nil
	})
	if err == nil {
		in.sessions.Sweep(&in.users)
	}
	return err
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

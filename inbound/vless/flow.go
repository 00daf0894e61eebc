package vless

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"

	"heki/adapter"
	"heki/inbound"
	"heki/internal/netio"
	"heki/internal/protocol/muxcool"
	"heki/internal/protocol/vision"
	"heki/internal/protocol/vless"
)

// outer is a TLS connection that Vision can leave.
type outer interface {
	vision.Outer
	// CanLeave says why not.
	CanLeave() error
}

var errNoTLS = errors.New("there is no TLS, or a transport inside it")

// outerOf returns the TLS connection that stands right below conn, if it is one to leave.
func outerOf(conn *netio.Conn) (outer, error) {
	o, ok := conn.Conn.(outer)
	if !ok {
		return nil, errNoTLS
	}
	return o, o.CanLeave()
}

// checkFlow says whether the client may go on with the flow that it asks for, which need not be its
// user's for packets, and tells the operator why not. rest is what has arrived behind the request.
//
//	user's flow  request's flow  TCP  UDP  Mux
//	none         none            yes  yes  yes
//	none         Vision          no   no   no
//	Vision       none            no   yes  XUDP
//	Vision       Vision          yes  no   packets only
//
// Source: Xray-core proxy/vless/inbound
func (in *Inbound) checkFlow(req vless.Request, user *adapter.User, rest []byte, conn *netio.Conn, md *adapter.Metadata) error {
	switch {
	case req.Flow == user.Flow && req.Flow == "":
		return nil
	case req.Flow == "":
		return in.checkNoFlow(req, user, rest, md)
	case req.Flow != user.Flow:
		return in.badFlow(req, user, md, "the client asks for a flow that its user does not have; remove the flow in the client or set it for the user")
	case req.Command == vless.CommandUDP:
		return in.badFlow(req, user, md, "the client's flow carries packets as XUDP only; turn XUDP on in the client")
	}
	if _, err := outerOf(conn); err != nil {
		return in.badFlow(req, user, md, "the flow needs TLS 1.3 or REALITY right on TCP", "err", err)
	}
	return nil
}

// checkNoFlow is for a client without the flow of its user: packets may do without.
func (in *Inbound) checkNoFlow(req vless.Request, user *adapter.User, rest []byte, md *adapter.Metadata) error {
	switch req.Command {
	case vless.CommandUDP:
		return nil
	case vless.CommandMux:
		f, _, err := muxcool.ParseFrame(rest, "")
		if err != nil {
			return err // ErrShort too: more of the frame is needed
		}
		if f.ID == 0 && f.Network == muxcool.NetworkUDP { // XUDP
			return nil
		}
	}
	return in.badFlow(req, user, md, "the client does not ask for the flow that its user has; set the flow in the client or remove it from the user", "has", user.Flow)
}

// badFlow logs a refused flow, for whoever looks why a client gets no answer.
func (in *Inbound) badFlow(req vless.Request, user *adapter.User, md *adapter.Metadata, why string, more ...any) error {
	in.log.Info(why, append([]any{"user", user.Name, "flow", req.Flow, "from", md.Source.String()}, more...)...)
	return fmt.Errorf("%w: %q", inbound.ErrBadFlow, req.Flow)
}

// seedOf is how paddings for the user are long.
func seedOf(u *adapter.User) vision.Seed {
	if u.Seed == (adapter.Seed{}) {
		return vision.DefaultSeed()
	}
	return vision.Seed(u.Seed)
}

// serveVision serves a request with the flow on conn, which holds what follows the request.
func (in *Inbound) serveVision(ctx context.Context, conn *netio.Conn, req vless.Request, md *adapter.Metadata) error {
	tls, err := outerOf(conn)
	if err != nil {
		return err
	}
	inner := vision.NewConn(vless.NewServerConn(conn), tls, vision.Options{
		UUID:   req.UUID,
		Seed:   seedOf(md.User),
		Random: rand.IntN,
		Ahead:  conn.ReadCached(),
		Waiter: netio.NewWaiter,
		Direct: func(up bool) {
			direction := "down"
			if up {
				direction = "up"
			}
			in.log.LogAttrs(ctx, slog.LevelDebug, "vision: direct copy", slog.Any("conn", md), slog.String("direction", direction))
		},
	})
	return in.route(ctx, netio.NewConn(inner), req, md)
}

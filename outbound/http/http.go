// Package http reaches destinations through an HTTP proxy's CONNECT.
package http

import (
	"context"
	"errors"
	"net"
	"slices"

	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/constant"
	"heki/internal/netio"
	"heki/internal/protocol/connect"
	"heki/internal/protocol/wire"
	"heki/option"
	"heki/outbound"
	"heki/outbound/internal/remote"
)

// ErrNoUDP is the answer to packet sessions.
var ErrNoUDP = errors.New("an HTTP proxy carries TCP only; route network:udp elsewhere")

// Outbound asks one HTTP proxy.
type Outbound struct {
	tag    string
	server *remote.Server
	fields []connect.Field
}

// Register adds the type to r.
func Register(r *outbound.Registry) { outbound.Register(r, constant.TypeHTTP, New) }

// New builds the outbound.
func New(env outbound.Env, tag string, o *option.HTTPOutbound) (adapter.Outbound, error) {
	server, err := remote.New(env, &o.Remote, option.Carrier{TLS: o.TLS})
	if err != nil {
		return nil, err
	}
	out := &Outbound{tag: tag, server: server}
	if o.Username != "" {
		out.fields = append(out.fields, connect.BasicAuth(o.Username, o.Password))
	}
	for name, values := range o.Headers {
		for _, value := range values {
			out.fields = append(out.fields, connect.Field{Name: name, Value: value})
		}
	}
	slices.SortStableFunc(out.fields, func(a, b connect.Field) int { // a map has no order
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		}
		return 0
	})
	return out, nil
}

// Tag implements adapter.Outbound.
func (o *Outbound) Tag() string { return o.tag }

// Close implements adapter.Outbound.
func (o *Outbound) Close() error { return o.server.Close() }

// Dial implements adapter.Outbound: it returns once the proxy has reached the destination.
func (o *Outbound) Dial(ctx context.Context, md *adapter.Metadata) (net.Conn, error) {
	c, err := o.server.Greet(ctx, func(c *netio.Conn) error {
		if _, err := c.Write(connect.AppendRequest(nil, md.Destination.String(), o.fields)); err != nil {
			return err
		}
		for range maxInterim {
			status, err := wire.ReadHeader(c, connect.ParseAnswer)
			if err != nil || status >= 200 {
				return err
			}
		}
		return connect.ErrBadAnswer
	})
	if err != nil {
		return nil, err // a nil *netio.Conn would be no nil
	}
	return c, nil
}

// maxInterim bounds the answers before the last one: RFC 9110 §15.2.
const maxInterim = 5

// ListenPacket returns ErrNoUDP.
func (o *Outbound) ListenPacket(context.Context, *adapter.Metadata) (N.PacketConn, error) {
	return nil, ErrNoUDP
}

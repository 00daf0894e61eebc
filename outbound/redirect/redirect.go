// Package redirect sends everything to one server, in place of the destination.
package redirect

import (
	"context"
	"net"

	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/constant"
	"heki/option"
	"heki/outbound"
	"heki/outbound/direct"
)

// Outbound dials one server.
type Outbound struct {
	adapter.Outbound // direct
	server           M.Socksaddr
}

// Register adds the type to r.
func Register(r *outbound.Registry) { outbound.Register(r, constant.TypeRedirect, New) }

// New builds the outbound.
func New(env outbound.Env, tag string, o *option.RedirectOutbound) (adapter.Outbound, error) {
	d, err := direct.New(env, tag, &o.Direct)
	if err != nil {
		return nil, err
	}
	return &Outbound{Outbound: d, server: M.ParseSocksaddrHostPort(o.Server, o.ServerPort)}, nil
}

// to returns md with the server as its destination. Port 0 keeps the destination's.
func (o *Outbound) to(md *adapter.Metadata) *adapter.Metadata {
	other := *md
	other.Destination = o.instead(md.Destination)
	other.Addresses = nil
	return &other
}

func (o *Outbound) instead(dst M.Socksaddr) M.Socksaddr {
	server := o.server
	if server.Port == 0 {
		server.Port = dst.Port
	}
	return server
}

// Dial implements adapter.Outbound.
func (o *Outbound) Dial(ctx context.Context, md *adapter.Metadata) (net.Conn, error) {
	return o.Outbound.Dial(ctx, o.to(md))
}

// ListenPacket implements adapter.Outbound. Answers come back as from the destination that was asked
// last of those that the server stands for on that port.
func (o *Outbound) ListenPacket(ctx context.Context, md *adapter.Metadata) (N.PacketConn, error) {
	c, err := o.Outbound.ListenPacket(ctx, o.to(md))
	if err != nil {
		return nil, err
	}
	return &packetConn{PacketConn: c, out: o}, nil
}

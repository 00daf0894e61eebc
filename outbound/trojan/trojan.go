// Package trojan reaches destinations through a Trojan server.
package trojan

import (
	"context"
	"net"

	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/constant"
	"heki/internal/protocol/trojan"
	"heki/option"
	"heki/outbound"
	"heki/outbound/internal/remote"
)

// Outbound asks one Trojan server.
type Outbound struct {
	tag    string
	server *remote.Server
	key    trojan.Key
	packet option.Packet
}

// Register adds the type to r.
func Register(r *outbound.Registry) { outbound.Register(r, constant.TypeTrojan, New) }

// New builds the outbound.
func New(env outbound.Env, tag string, o *option.TrojanOutbound) (adapter.Outbound, error) {
	server, err := remote.New(env, &o.Remote, o.Carrier)
	if err != nil {
		return nil, err
	}
	return &Outbound{tag: tag, server: server, key: trojan.KeyOf(o.Password), packet: o.Packet}, nil
}

// Tag implements adapter.Outbound.
func (o *Outbound) Tag() string { return o.tag }

// Close implements adapter.Outbound.
func (o *Outbound) Close() error { return o.server.Close() }

// Dial implements adapter.Outbound. The request travels with the first payload; the server does not
// answer it, so that a destination it cannot reach shows as the end of the stream.
func (o *Outbound) Dial(ctx context.Context, md *adapter.Metadata) (net.Conn, error) {
	if err := remote.Takes(&o.packet, constant.NetworkTCP); err != nil {
		return nil, err
	}
	c, err := o.open(ctx, trojan.CommandTCP, md.Destination)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// ListenPacket implements adapter.Outbound: one stream carries the packets of all destinations.
func (o *Outbound) ListenPacket(ctx context.Context, md *adapter.Metadata) (N.PacketConn, error) {
	if err := remote.Takes(&o.packet, constant.NetworkUDP); err != nil {
		return nil, err
	}
	c, err := o.open(ctx, trojan.CommandUDP, md.Destination)
	if err != nil {
		return nil, err
	}
	return trojan.NewPacketConn(c), nil
}

func (o *Outbound) open(ctx context.Context, command trojan.Command, dst M.Socksaddr) (*remote.Early, error) {
	conn, err := o.server.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return remote.NewEarly(conn, trojan.AppendRequest(nil, trojan.Request{Key: o.key, Command: command, Destination: dst})), nil
}

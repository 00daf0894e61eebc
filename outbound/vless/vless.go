// Package vless reaches destinations through a VLESS server.
package vless

import (
	"context"
	"fmt"
	"net"

	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/constant"
	"heki/internal/protocol/muxcool"
	"heki/internal/protocol/packetaddr"
	"heki/internal/protocol/vless"
	"heki/option"
	"heki/outbound"
	"heki/outbound/internal/remote"
)

// Outbound asks one VLESS server.
type Outbound struct {
	tag      string
	server   *remote.Server
	uuid     vless.UUID
	packet   option.Packet
	encoding string
}

// Register adds the type to r.
func Register(r *outbound.Registry) { outbound.Register(r, constant.TypeVLESS, New) }

// New builds the outbound.
func New(env outbound.Env, tag string, o *option.VLESSOutbound) (adapter.Outbound, error) {
	uuid, err := option.ParseUUID(o.UUID)
	if err != nil {
		return nil, fmt.Errorf("uuid %w", err)
	}
	server, err := remote.New(env, &o.Remote, o.Carrier)
	if err != nil {
		return nil, err
	}
	out := &Outbound{tag: tag, server: server, uuid: uuid, packet: o.Packet, encoding: option.PacketEncodingXUDP}
	if o.PacketEncoding != nil {
		out.encoding = *o.PacketEncoding
	}
	return out, nil
}

// Tag implements adapter.Outbound.
func (o *Outbound) Tag() string { return o.tag }

// Close implements adapter.Outbound.
func (o *Outbound) Close() error { return o.server.Close() }

// Dial implements adapter.Outbound. The request travels with the first payload; the server answers with
// its first payload, so that a destination it cannot reach shows as the end of the stream.
func (o *Outbound) Dial(ctx context.Context, md *adapter.Metadata) (net.Conn, error) {
	if err := remote.Takes(&o.packet, constant.NetworkTCP); err != nil {
		return nil, err
	}
	c, err := o.open(ctx, vless.CommandTCP, md.Destination)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// ListenPacket implements adapter.Outbound: one stream carries the packets of all destinations. Without
// a packet encoding it is for the session's first destination, and packets to others are lost.
func (o *Outbound) ListenPacket(ctx context.Context, md *adapter.Metadata) (N.PacketConn, error) {
	if err := remote.Takes(&o.packet, constant.NetworkUDP); err != nil {
		return nil, err
	}
	command, dst := vless.CommandUDP, md.Destination
	switch o.encoding {
	case option.PacketEncodingXUDP:
		command = vless.CommandMux
	case option.PacketEncodingAddr:
		dst = M.Socksaddr{Fqdn: packetaddr.Host}
	}
	c, err := o.open(ctx, command, dst)
	if err != nil {
		return nil, err
	}
	switch o.encoding {
	case option.PacketEncodingXUDP:
		return muxcool.NewXUDP(c, dst), nil
	case option.PacketEncodingAddr:
		return packetaddr.NewConn(vless.NewClientPacketConn(c, dst), dst), nil
	}
	return vless.NewClientPacketConn(c, dst), nil
}

func (o *Outbound) open(ctx context.Context, command vless.Command, dst M.Socksaddr) (*vless.ClientConn, error) {
	conn, err := o.server.Dial(ctx)
	if err != nil {
		return nil, err
	}
	early := remote.NewEarly(conn, vless.AppendRequest(nil, vless.Request{UUID: o.uuid, Command: command, Destination: dst}))
	return vless.NewClientConn(early, early.Waiter()), nil
}

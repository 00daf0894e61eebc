// Package vmess reaches destinations through a VMess server, authenticated the AEAD way.
package vmess

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"time"

	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"
	"golang.org/x/sys/cpu"

	"heki/adapter"
	"heki/constant"
	"heki/internal/netio"
	"heki/internal/protocol/muxcool"
	"heki/internal/protocol/packetaddr"
	"heki/internal/protocol/vmess"
	"heki/option"
	"heki/outbound"
	"heki/outbound/internal/remote"
)

// Outbound opens a stream to the server for each connection.
type Outbound struct {
	tag      string
	server   *remote.Server
	client   *vmess.Client
	env      outbound.Env // for the clock
	packet   option.Packet
	encoding string
}

// Register adds the type to r.
func Register(r *outbound.Registry) { outbound.Register(r, constant.TypeVMess, New) }

// New builds the outbound.
func New(env outbound.Env, tag string, o *option.VMessOutbound) (adapter.Outbound, error) {
	id, err := option.ParseUUID(o.UUID)
	if err != nil {
		return nil, fmt.Errorf("uuid %w", err)
	}
	security, options, err := vmess.ParseSecurity(o.Security, fastAES())
	if err != nil {
		return nil, err
	}
	if security != vmess.SecurityNone { // which has no use for either
		if o.GlobalPadding {
			options |= vmess.OptionGlobalPadding
		}
		if o.AuthenticatedLength {
			options |= vmess.OptionAuthenticatedLength
		}
	}
	server, err := remote.New(env, &o.Remote, o.Carrier)
	if err != nil {
		return nil, err
	}
	return &Outbound{
		tag: tag, server: server, client: vmess.NewClient(id, security, options), env: env,
		packet: o.Packet, encoding: o.PacketEncoding,
	}, nil
}

// fastAES says whether the machine has instructions for AES-GCM.
func fastAES() bool {
	return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL ||
		cpu.S390X.HasAES && cpu.S390X.HasAESGCM
}

// Tag implements adapter.Outbound.
func (o *Outbound) Tag() string { return o.tag }

// Close implements adapter.Outbound.
func (o *Outbound) Close() error { return o.server.Close() }

// Dial implements adapter.Outbound. That the server refuses shows in the first read.
func (o *Outbound) Dial(ctx context.Context, md *adapter.Metadata) (net.Conn, error) {
	if err := remote.Takes(&o.packet, constant.NetworkTCP); err != nil {
		return nil, err
	}
	c, err := o.open(ctx, vmess.CommandTCP, md.Destination)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// ListenPacket implements adapter.Outbound: XUDP and packetaddr carry any destination on one stream,
// VMess's own way takes one for each.
func (o *Outbound) ListenPacket(ctx context.Context, md *adapter.Metadata) (N.PacketConn, error) {
	if err := remote.Takes(&o.packet, constant.NetworkUDP); err != nil {
		return nil, err
	}
	switch o.encoding {
	case option.PacketEncodingXUDP:
		c, err := o.open(ctx, vmess.CommandMux, md.Destination)
		if err != nil {
			return nil, err
		}
		return muxcool.NewXUDP(netio.NewConn(c), md.Destination), nil
	case option.PacketEncodingAddr:
		dst := M.Socksaddr{Fqdn: packetaddr.Host}
		c, err := o.open(ctx, vmess.CommandUDP, dst)
		if err != nil {
			return nil, err
		}
		return packetaddr.NewConn(vmess.NewPacketConn(c.Conn, dst), md.Destination), nil
	}
	return newLanes(ctx, o.openPackets, md.Destination)
}

// openPackets opens a stream of packets to and from one destination.
func (o *Outbound) openPackets(ctx context.Context, dst M.Socksaddr) (N.PacketConn, error) {
	c, err := o.open(ctx, vmess.CommandUDP, dst)
	if err != nil {
		return nil, err
	}
	return vmess.NewPacketConn(c.Conn, dst), nil
}

func (o *Outbound) open(ctx context.Context, command vmess.Command, dst M.Socksaddr) (*conn, error) {
	inner, err := o.server.Dial(ctx)
	if err != nil {
		return nil, err
	}
	session, request := o.client.Request(command, dst, o.env.Time().Unix(), rand.Reader)
	c := &conn{Conn: vmess.NewClientConn(netio.NewConn(inner), session, request, netio.Pool{}), inner: inner}
	c.timer = remote.Soon(c.Flush)
	return c, nil
}

// conn sends its request with the first payload, or alone when none comes soon.
type conn struct {
	*vmess.Conn
	inner net.Conn
	timer *time.Timer
}

// CloseWrite ends the writing side. The error is errors.ErrUnsupported when the stream to the server has no
// half-close: the empty chunk alone means nothing to sing-box, which would wait for more until the
// connection is idle for long.
func (c *conn) CloseWrite() error {
	if err := c.Conn.CloseWrite(); err != nil {
		return err
	}
	if err := netio.CloseWrite(c.inner); errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// Close ends the waiting and closes the stream.
func (c *conn) Close() error {
	c.timer.Stop()
	return c.Conn.Close()
}

// Package socks reaches destinations through a SOCKS server of version 4, 4a or 5.
package socks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/constant"
	"heki/internal/netio"
	"heki/internal/protocol/socks"
	"heki/internal/protocol/wire"
	"heki/option"
	"heki/outbound"
	"heki/outbound/internal/remote"
)

// Errors of what a version cannot say.
var (
	ErrNoUDP  = errors.New("SOCKS 4 carries TCP only; write version 5, or route network:udp elsewhere")
	errNoIPv6 = errors.New("SOCKS 4 has no IPv6; write version 4a or 5")
)

// Outbound asks one SOCKS server.
type Outbound struct {
	tag      string
	server   *remote.Server
	resolver adapter.Resolver
	version  string
	username string
	password string
	packet   option.Packet
}

// Register adds the type to r.
func Register(r *outbound.Registry) { outbound.Register(r, constant.TypeSocks, New) }

// New builds the outbound.
func New(env outbound.Env, tag string, o *option.SocksOutbound) (adapter.Outbound, error) {
	server, err := remote.New(env, &o.Remote, option.Carrier{})
	if err != nil {
		return nil, err
	}
	return &Outbound{
		tag: tag, server: server, resolver: env.Resolver,
		version: o.Version, username: o.Username, password: o.Password, packet: o.Packet,
	}, nil
}

// Tag implements adapter.Outbound.
func (o *Outbound) Tag() string { return o.tag }

// Close implements adapter.Outbound.
func (o *Outbound) Close() error { return o.server.Close() }

// Dial implements adapter.Outbound: it returns once the server has reached the destination.
func (o *Outbound) Dial(ctx context.Context, md *adapter.Metadata) (net.Conn, error) {
	if err := remote.Takes(&o.packet, constant.NetworkTCP); err != nil {
		return nil, err
	}
	dst := md.Destination
	if o.version == option.Socks4 {
		var err error
		if dst, err = o.ipv4(ctx, md); err != nil {
			return nil, err
		}
	}
	c, err := o.server.Greet(ctx, func(c *netio.Conn) error {
		if o.version != option.Socks5 {
			return o.connect4(c, dst)
		}
		_, err := o.ask(c, socks.CommandConnect, dst)
		return err
	})
	if err != nil {
		return nil, err // a nil *netio.Conn would be no nil
	}
	return c, nil
}

// ipv4 returns the destination as version 4 can say it.
func (o *Outbound) ipv4(ctx context.Context, md *adapter.Metadata) (M.Socksaddr, error) {
	addrs := md.Addresses
	if md.Destination.Addr.IsValid() {
		addrs = []netip.Addr{md.Destination.Addr}
	} else if len(addrs) == 0 {
		var err error
		if addrs, err = o.resolver.Lookup(ctx, md.Inbound, md.Destination.Fqdn); err != nil {
			return M.Socksaddr{}, err
		}
	}
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			return M.Socksaddr{Addr: a, Port: md.Destination.Port}, nil
		}
	}
	return M.Socksaddr{}, errNoIPv6
}

func (o *Outbound) connect4(c *netio.Conn, dst M.Socksaddr) error {
	if _, err := c.Write(socks.AppendRequest4(nil, dst, o.username)); err != nil {
		return err
	}
	_, err := wire.ReadHeader(c, socks.ParseReply4)
	return err
}

// ask authenticates with version 5, sends a command and returns the address that the server names.
func (o *Outbound) ask(c *netio.Conn, command socks.Command, dst M.Socksaddr) (M.Socksaddr, error) {
	methods := []socks.Method{socks.MethodNone}
	if o.username != "" {
		methods = append(methods, socks.MethodPassword)
	}
	if _, err := c.Write(socks.AppendMethods(nil, methods...)); err != nil {
		return M.Socksaddr{}, err
	}
	method, err := wire.ReadHeader(c, socks.ParseMethod)
	if err != nil {
		return M.Socksaddr{}, err
	}
	if method == socks.MethodPassword {
		if o.username == "" {
			return M.Socksaddr{}, fmt.Errorf("%w: it wants a password that was not offered", socks.ErrBadAnswer)
		}
		if _, err := c.Write(socks.AppendPassword(nil, o.username, o.password)); err != nil {
			return M.Socksaddr{}, err
		}
		if _, err := wire.ReadHeader(c, socks.ParsePassword); err != nil {
			return M.Socksaddr{}, err
		}
	}
	if _, err := c.Write(socks.AppendRequest(nil, command, dst)); err != nil {
		return M.Socksaddr{}, err
	}
	return wire.ReadHeader(c, socks.ParseReply)
}

// ListenPacket implements adapter.Outbound: one association of version 5 carries the packets of all
// destinations, as long as its connection with the server lasts.
func (o *Outbound) ListenPacket(ctx context.Context, _ *adapter.Metadata) (N.PacketConn, error) {
	if o.version != option.Socks5 {
		return nil, ErrNoUDP
	}
	if err := remote.Takes(&o.packet, constant.NetworkUDP); err != nil {
		return nil, err
	}
	var relay M.Socksaddr
	control, err := o.server.Greet(ctx, func(c *netio.Conn) error {
		var err error
		relay, err = o.ask(c, socks.CommandAssociate, M.Socksaddr{Addr: netip.IPv4Unspecified()})
		return err
	})
	if err != nil {
		return nil, err
	}
	socket, err := o.reach(ctx, control, relay)
	if err != nil {
		_ = control.Close()
		return nil, err
	}
	return newPacketConn(socket, control)
}

// reach opens the socket to where the server takes packets: when it names no address, its own.
func (o *Outbound) reach(ctx context.Context, control net.Conn, relay M.Socksaddr) (*net.UDPConn, error) {
	addr := relay.Addr.Unmap()
	switch {
	case relay.IsFqdn():
		addrs, err := o.resolver.Lookup(ctx, "", relay.Fqdn)
		if err != nil {
			return nil, o.server.Error(err)
		}
		addr = addrs[0]
	case !addr.IsValid() || addr.IsUnspecified():
		addr = netio.AddrPort(control.RemoteAddr()).Addr()
	}
	if relay.Port == 0 {
		return nil, o.server.Error(fmt.Errorf("%w: it names no port for packets", socks.ErrBadAnswer))
	}
	return o.server.DialPacket(ctx, netip.AddrPortFrom(addr, relay.Port))
}

// Package direct connects from this machine, from an address or interface of choice.
package direct

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/constant"
	"heki/option"
	"heki/outbound"
	"heki/outbound/internal/dialer"
)

// bindInbound is the "bind" that leaves from the address the client came in on.
const bindInbound = "inbound"

// Outbound dials directly.
type Outbound struct {
	tag      string
	resolver adapter.Resolver
	dialer   *dialer.Dialer
	inbound  bool // leave from md.Local
	strategy string
}

// Register adds the type to r.
func Register(r *outbound.Registry) { outbound.Register(r, constant.TypeDirect, New) }

// New builds the outbound.
func New(env outbound.Env, tag string, o *option.Direct) (adapter.Outbound, error) {
	d := &Outbound{tag: tag, resolver: env.Resolver, inbound: o.Bind == bindInbound, strategy: o.DomainStrategy}
	dial := o.Dial
	switch addr, err := netip.ParseAddr(o.Bind); {
	case o.Bind == bindInbound, o.Bind == "":
	case err != nil:
		if _, err := net.InterfaceByName(o.Bind); err != nil {
			return nil, fmt.Errorf("bind: %q is neither \"inbound\", an address nor an interface of this machine", o.Bind)
		}
		dial.BindInterface = o.Bind
	case addr.Unmap().Is4():
		dial.Inet4BindAddress = addr.Unmap().String()
	default:
		dial.Inet6BindAddress = addr.String()
	}
	var err error
	if d.dialer, err = dialer.New(&dial); err != nil {
		return nil, err
	}
	return d, nil
}

// Tag implements adapter.Outbound.
func (o *Outbound) Tag() string { return o.tag }

// Close implements adapter.Outbound.
func (o *Outbound) Close() error { return nil }

// Dial implements adapter.Outbound: the addresses of the destination are tried in their order, the
// next one when one fails or has not answered within 250 ms (RFC 8305).
func (o *Outbound) Dial(ctx context.Context, md *adapter.Metadata) (net.Conn, error) {
	addrs, err := o.addresses(ctx, md)
	if err != nil {
		return nil, err
	}
	var from netip.Addr
	if o.inbound {
		from = md.Local.Addr().Unmap()
	}
	return o.dialer.Dial(ctx, addrs, md.Destination.Port, from)
}

// addresses returns what can be dialled from the source address in force.
func (o *Outbound) addresses(ctx context.Context, md *adapter.Metadata) ([]netip.Addr, error) {
	if md.Destination.Addr.IsValid() {
		return []netip.Addr{md.Destination.Addr.Unmap()}, nil
	}
	addrs := md.Addresses
	if len(addrs) == 0 {
		var err error
		if addrs, err = o.resolver.Lookup(ctx, md.Inbound, md.Destination.Fqdn); err != nil {
			return nil, err
		}
	}
	addrs, err := pick(o.strategy, addrs)
	if err != nil {
		return nil, err
	}
	if !o.inbound || !md.Local.Addr().IsValid() {
		return addrs, nil
	}
	same := make([]netip.Addr, 0, len(addrs))
	for _, a := range addrs {
		if a.Is4() == md.Local.Addr().Is4() {
			same = append(same, a)
		}
	}
	if len(same) == 0 {
		return nil, fmt.Errorf("no address of %s is of the family of %s, which the client came in on", md.Destination.Fqdn, md.Local.Addr())
	}
	return same, nil
}

// ListenPacket implements adapter.Outbound: one unconnected socket of both families where the
// machine has both, so that every peer sees one mapping (full cone).
func (o *Outbound) ListenPacket(ctx context.Context, md *adapter.Metadata) (N.PacketConn, error) {
	c, err := o.dialer.ListenPacket(ctx, o.packetSource(md))
	if err != nil {
		return nil, err
	}
	return newPacketConn(c, o, md)
}

// packetSource picks the source for a whole session: the family of its first destination.
func (o *Outbound) packetSource(md *adapter.Metadata) netip.Addr {
	if o.inbound {
		return md.Local.Addr().Unmap()
	}
	if dst := md.Destination.Addr; dst.IsValid() {
		return o.dialer.Source(dst.Unmap().Is4())
	}
	if v4 := o.dialer.Source(true); v4.IsValid() {
		return v4
	}
	return o.dialer.Source(false)
}

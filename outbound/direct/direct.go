// Package direct connects from this machine, from an address or interface of choice.
package direct

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/sagernet/sing/common/control"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/constant"
	"heki/option"
	"heki/outbound"
)

// bindInbound is the "bind" that leaves from the address the client came in on.
const bindInbound = "inbound"

// Outbound dials directly.
type Outbound struct {
	tag      string
	resolver adapter.Resolver
	control  control.Func
	timeout  time.Duration
	mptcp    bool
	inbound  bool       // leave from md.Local
	v4, v6   netip.Addr // fixed source addresses; invalid: the system's choice
}

// Register adds the type to r.
func Register(r *outbound.Registry) { outbound.Register(r, constant.TypeDirect, New) }

// New builds the outbound.
func New(env outbound.Env, tag string, o *option.Direct) (adapter.Outbound, error) {
	d := &Outbound{
		tag: tag, resolver: env.Resolver,
		timeout: time.Duration(o.ConnectTimeout), mptcp: o.TCPMultiPath,
	}
	if d.timeout == 0 {
		d.timeout = constant.DialTimeout
	}
	iface := o.BindInterface
	switch addr, err := netip.ParseAddr(o.Bind); {
	case o.Bind == bindInbound:
		d.inbound = true
	case err == nil:
		d.setSource(addr)
	case o.Bind != "":
		iface = o.Bind
	}
	for _, text := range []string{o.Inet4BindAddress, o.Inet6BindAddress} {
		if text == "" {
			continue
		}
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("bind address: %w", err)
		}
		d.setSource(addr)
	}
	if iface != "" {
		if _, err := net.InterfaceByName(iface); err != nil {
			return nil, fmt.Errorf("bind: %q is neither \"inbound\", an address nor an interface of this machine", iface)
		}
		d.control = control.Append(d.control, control.BindToInterface(nil, iface, -1))
	}
	if o.TCPFastOpen {
		d.control = control.Append(d.control, fastOpen)
	}
	if o.RoutingMark != 0 {
		d.control = control.Append(d.control, control.RoutingMark(o.RoutingMark))
	}
	return d, nil
}

func (o *Outbound) setSource(addr netip.Addr) {
	if addr = addr.Unmap(); addr.Is4() {
		o.v4 = addr
		return
	}
	o.v6 = addr
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
	port := md.Destination.Port
	if len(addrs) == 1 {
		return o.dialOne(ctx, md, netip.AddrPortFrom(addrs[0], port))
	}
	return race(ctx, addrs, func(ctx context.Context, addr netip.Addr) (net.Conn, error) {
		return o.dialOne(ctx, md, netip.AddrPortFrom(addr, port))
	})
}

// addresses returns what can be dialled from the source address in force.
func (o *Outbound) addresses(ctx context.Context, md *adapter.Metadata) ([]netip.Addr, error) {
	addrs := md.Addresses
	if len(addrs) == 0 {
		if md.Destination.Addr.IsValid() {
			return []netip.Addr{md.Destination.Addr.Unmap()}, nil
		}
		var err error
		if addrs, err = o.resolver.Lookup(ctx, md.Inbound, md.Destination.Fqdn); err != nil {
			return nil, err
		}
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

// source returns the local address to leave from towards an address of that family.
func (o *Outbound) source(md *adapter.Metadata, v4 bool) netip.Addr {
	if local := md.Local.Addr().Unmap(); o.inbound && local.IsValid() && local.Is4() == v4 {
		return local
	}
	if v4 {
		return o.v4
	}
	return o.v6
}

func (o *Outbound) dialOne(ctx context.Context, md *adapter.Metadata, dst netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Timeout: o.timeout, KeepAlive: 30 * time.Second}
	if o.control != nil {
		d.Control = func(network, address string, c syscall.RawConn) error { return o.control(network, address, c) }
	}
	if src := o.source(md, dst.Addr().Is4()); src.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: src.AsSlice()}
	}
	d.SetMultipathTCP(o.mptcp)
	return d.DialContext(ctx, "tcp", dst.String())
}

// ListenPacket implements adapter.Outbound: one unconnected socket of both families where the
// machine has both, so that every peer sees one mapping (full cone).
func (o *Outbound) ListenPacket(ctx context.Context, md *adapter.Metadata) (N.PacketConn, error) {
	lc := net.ListenConfig{}
	if o.control != nil {
		lc.Control = func(network, address string, c syscall.RawConn) error { return o.control(network, address, c) }
	}
	network, host := "udp", ""
	if src := o.packetSource(md); src.IsValid() {
		host = src.String()
	}
	c, err := lc.ListenPacket(ctx, network, net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	return newPacketConn(c.(*net.UDPConn), o.resolver, md)
}

// packetSource picks the source for a whole session: the family of its first destination.
func (o *Outbound) packetSource(md *adapter.Metadata) netip.Addr {
	if o.inbound {
		return md.Local.Addr().Unmap()
	}
	if dst := md.Destination.Addr; dst.IsValid() {
		return o.source(md, dst.Unmap().Is4())
	}
	if o.v4.IsValid() {
		return o.v4
	}
	return o.v6
}

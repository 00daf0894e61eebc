// Package dialer makes the connections of this machine that an outbound asks for: from an address or
// interface of choice, to the first of a host's addresses that answers.
package dialer

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/sagernet/sing/common/control"

	"heki/constant"
	"heki/option"
)

// keepAlive is the time between the probes of an idle connection.
const keepAlive = 30 * time.Second

// sharedTimeout is how long a server may confirm nothing of what it was sent. grpc-go has 20 s for it.
const sharedTimeout = 30 * time.Second

// Dialer connects from one place. It never changes.
type Dialer struct {
	control control.Func
	timeout time.Duration
	mptcp   bool
	v4, v6  netip.Addr // fixed source addresses; invalid: the system's choice
}

// New prepares a dialer. An interface that does not exist is an error.
func New(o *option.Dial) (*Dialer, error) {
	d := &Dialer{timeout: time.Duration(o.ConnectTimeout), mptcp: o.TCPMultiPath}
	if d.timeout == 0 {
		d.timeout = constant.DialTimeout
	}
	for _, text := range []string{o.Inet4BindAddress, o.Inet6BindAddress} {
		if text == "" {
			continue
		}
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("bind address: %w", err)
		}
		if addr = addr.Unmap(); addr.Is4() {
			d.v4 = addr
		} else {
			d.v6 = addr
		}
	}
	if o.BindInterface != "" {
		if _, err := net.InterfaceByName(o.BindInterface); err != nil {
			return nil, fmt.Errorf("bind_interface: %q is no interface of this machine", o.BindInterface)
		}
		d.control = control.Append(d.control, control.BindToInterface(nil, o.BindInterface, -1))
	}
	if o.TCPFastOpen {
		d.control = control.Append(d.control, fastOpen)
	}
	if o.RoutingMark != 0 {
		d.control = control.Append(d.control, control.RoutingMark(o.RoutingMark))
	}
	return d, nil
}

// Shared returns a dialer of connections that many streams share. One whose peer is gone ends soon: new
// streams would go on into it, and their users wait. It is not for others, whose peer may well take nothing
// for as long while its own reader is slow.
func (d *Dialer) Shared() *Dialer {
	s := *d
	s.control = control.Append(d.control, userTimeout)
	return &s
}

// Source returns the address to leave from towards one of that family: the fixed one, or an invalid
// one, which is the system's choice.
func (d *Dialer) Source(v4 bool) netip.Addr {
	if v4 {
		return d.v4
	}
	return d.v6
}

// Dial tries addrs in their order, the next one when one fails or has not answered within 250 ms
// (RFC 8305). from, when valid and of the right family, is left from instead of the fixed source.
func (d *Dialer) Dial(ctx context.Context, addrs []netip.Addr, port uint16, from netip.Addr) (net.Conn, error) {
	if len(addrs) == 1 {
		return d.dialOne(ctx, netip.AddrPortFrom(addrs[0], port), from)
	}
	return race(ctx, addrs, func(ctx context.Context, addr netip.Addr) (net.Conn, error) {
		return d.dialOne(ctx, netip.AddrPortFrom(addr, port), from)
	})
}

func (d *Dialer) dialOne(ctx context.Context, dst netip.AddrPort, from netip.Addr) (net.Conn, error) {
	n := net.Dialer{Timeout: d.timeout, KeepAlive: keepAlive, Control: d.control}
	v4 := dst.Addr().Unmap().Is4()
	if !from.IsValid() || from.Is4() != v4 {
		from = d.Source(v4)
	}
	if from.IsValid() {
		n.LocalAddr = &net.TCPAddr{IP: from.AsSlice()}
	}
	n.SetMultipathTCP(d.mptcp)
	return n.DialContext(ctx, "tcp", dst.String())
}

// DialPacket returns a UDP socket that speaks with one address only.
func (d *Dialer) DialPacket(ctx context.Context, dst netip.AddrPort) (*net.UDPConn, error) {
	n := net.Dialer{Timeout: d.timeout, Control: d.control}
	if from := d.Source(dst.Addr().Unmap().Is4()); from.IsValid() {
		n.LocalAddr = &net.UDPAddr{IP: from.AsSlice()}
	}
	c, err := n.DialContext(ctx, "udp", dst.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil //nolint:forcetypeassert // what net makes of "udp"
}

// ListenPacket returns a UDP socket that speaks with any address, of both families where the machine
// has both and from is invalid.
func (d *Dialer) ListenPacket(ctx context.Context, from netip.Addr) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: d.control}
	host := ""
	if from.IsValid() {
		host = from.String()
	}
	c, err := lc.ListenPacket(ctx, "udp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil //nolint:forcetypeassert // what net makes of "udp"
}

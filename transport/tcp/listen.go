// Package tcp listens: on one or all addresses, with the socket options of an inbound, and on sockets
// that a replaced inbound hands over without closing the port.
package tcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"heki/option"
)

// keepAliveIdle is the silence in which a connection's peer is asked whether it still lives; after
// keepAliveCount questions without an answer the connection ends.
const (
	keepAliveIdle  = 15 * time.Second
	keepAliveCount = 9
)

// Listen opens a socket for each address of o; the caller closes them. "all" stands for each address
// that the machine has now, no address for "::", which takes IPv4 too and is 0.0.0.0 on machines
// without IPv6. On an error nothing is left open.
func Listen(ctx context.Context, o *option.Listen) ([]net.Listener, error) {
	return each(o, func(addr netip.AddrPort) (net.Listener, error) { return listen(ctx, o, addr) })
}

// each opens all addresses of o or none.
func each(o *option.Listen, open func(netip.AddrPort) (net.Listener, error)) ([]net.Listener, error) {
	addrs, err := Addresses(o)
	if err != nil {
		return nil, err
	}
	var all []net.Listener
	for _, addr := range addrs {
		l, err := open(addr)
		if err != nil {
			for _, l := range all {
				_ = l.Close()
			}
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// Addresses returns those that o asks for, each once.
func Addresses(o *option.Listen) ([]netip.AddrPort, error) {
	if len(o.Listen) == 0 {
		return []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), o.ListenPort)}, nil
	}
	var all []netip.AddrPort
	seen := make(map[netip.Addr]bool)
	add := func(addr netip.Addr) {
		if !seen[addr] {
			seen[addr] = true
			all = append(all, netip.AddrPortFrom(addr, o.ListenPort))
		}
	}
	for _, text := range o.Listen {
		if text == "all" {
			local, err := localAddresses()
			if err != nil {
				return nil, fmt.Errorf("list local addresses: %w", err)
			}
			for _, addr := range local {
				add(addr)
			}
			continue
		}
		addr, err := netip.ParseAddr(cmp.Or(text, "::"))
		if err != nil {
			return nil, fmt.Errorf("listen address: %w", err)
		}
		add(addr)
	}
	return all, nil
}

// localAddresses leaves out link-local ones: they need a zone, and no client has them.
func localAddresses() ([]netip.Addr, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var local []netip.Addr
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			if addr := prefix.Addr().Unmap(); !addr.IsLinkLocalUnicast() {
				local = append(local, addr)
			}
		}
	}
	return local, nil
}

func listen(ctx context.Context, o *option.Listen, addr netip.AddrPort) (net.Listener, error) {
	config := net.ListenConfig{
		Control: func(_, _ string, c syscall.RawConn) error { return control(c, o) },
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: keepAliveIdle, Interval: keepAliveIdle, Count: keepAliveCount,
		},
	}
	config.SetMultipathTCP(o.MPTCP || o.TCPMultiPath)
	l, err := config.Listen(ctx, network(addr.Addr()), addr.String())
	if addr.Addr() == netip.IPv6Unspecified() && errors.Is(err, syscall.EAFNOSUPPORT) {
		l, err = config.Listen(ctx, "tcp4", net.JoinHostPort("0.0.0.0", strconv.Itoa(int(addr.Port()))))
	}
	return l, err
}

// network keeps 0.0.0.0 from meaning IPv6 as well, as "tcp" would.
func network(addr netip.Addr) string {
	switch {
	case addr.Unmap().Is4():
		return "tcp4"
	case addr.IsUnspecified():
		return "tcp"
	}
	return "tcp6"
}

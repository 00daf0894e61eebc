// Package udp receives datagrams: on one or all addresses, with several sockets on each, and on
// sockets that a replaced inbound hands over without closing the port.
package udp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"syscall"

	"heki/internal/netio"
	"heki/option"
)

const (
	// fewPorts is up to how many addresses get a socket for each processor. Where each user has a port of
	// its own, the ports themselves spread the work.
	fewPorts = 16
	// socketBuffer is the room in bytes for datagrams that wait, each way, as far as the system allows it
	// (net.core.rmem_max, wmem_max): a burst at a few Gbit/s while the loop is busy for some milliseconds.
	socketBuffer = 4 << 20
)

// listen opens the sockets of one address, count of them, among which the kernel spreads the clients.
// Port 0 is the same for all.
func listen(ctx context.Context, o *option.Listen, addr netip.AddrPort, count int) ([]*netio.PacketSocket, error) {
	first, err := open(ctx, o, addr, o.ReuseAddr)
	if addr.Addr() == netip.IPv6Unspecified() && errors.Is(err, syscall.EAFNOSUPPORT) {
		addr = netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port())
		first, err = open(ctx, o, addr, o.ReuseAddr)
	}
	if err != nil {
		return nil, err
	}
	all := []*netio.PacketSocket{first}
	if err := share(first.UDPConn); err != nil {
		return nil, errors.Join(err, first.Close())
	}
	port := uint16(first.LocalAddr().(*net.UDPAddr).Port)
	for range count - 1 {
		next, err := open(ctx, o, netip.AddrPortFrom(addr.Addr(), port), true)
		if err != nil {
			return nil, errors.Join(err, closeAll(all))
		}
		all = append(all, next)
	}
	return all, nil
}

// loops is how many sockets, with a goroutine each, an address gets that is opened beside ports others.
func loops(ports int) int {
	if !sharing || ports >= fewPorts {
		return 1
	}
	return runtime.GOMAXPROCS(0)
}

// Bind binds one socket, for protocols that receive by themselves. Without reuse it fails when anybody
// has the port, another heki included.
func Bind(ctx context.Context, o *option.Listen, addr netip.AddrPort, reuse bool) (*net.UDPConn, error) {
	config := net.ListenConfig{
		Control: func(_, _ string, c syscall.RawConn) error { return control(c, o, reuse) },
	}
	c, err := config.ListenPacket(ctx, network(addr.Addr()), net.JoinHostPort(addr.Addr().String(), strconv.Itoa(int(addr.Port()))))
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// open is Bind for the loops.
func open(ctx context.Context, o *option.Listen, addr netip.AddrPort, reuse bool) (*netio.PacketSocket, error) {
	c, err := Bind(ctx, o, addr, reuse)
	if err != nil {
		return nil, err
	}
	s, err := netio.NewPacketSocket(c)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	_ = s.SetReadBuffer(socketBuffer) // the system's own size will do, too
	_ = s.SetWriteBuffer(socketBuffer)
	return s, nil
}

func closeAll(sockets []*netio.PacketSocket) error {
	errs := make([]error, len(sockets))
	for i, s := range sockets {
		errs[i] = s.Close()
	}
	return errors.Join(errs...)
}

// network keeps 0.0.0.0 from meaning IPv6 as well, as "udp" would.
func network(addr netip.Addr) string {
	switch {
	case addr.Unmap().Is4():
		return "udp4"
	case addr.IsUnspecified():
		return "udp"
	}
	return "udp6"
}

package inboundtest

import (
	"context"
	"errors"
	"net"
	"net/netip"

	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/internal/netio"
)

type netipAddr = netip.Addr

// Router connects to where the client asks. Packets end in an error: real clients test them.
type Router struct{}

// RouteConn implements adapter.Router.
func (r *Router) RouteConn(ctx context.Context, conn net.Conn, md *adapter.Metadata) error {
	defer conn.Close()
	lease, err := md.User.Meter.Open(ctx, md.Source.Addr(), func() { go conn.Close() })
	if err != nil {
		return err
	}
	defer lease.Close()
	remote, err := new(net.Dialer).DialContext(ctx, "tcp", md.Destination.String())
	if err != nil {
		return err
	}
	return (&netio.Relay{}).Run(conn, remote)
}

// RoutePacketConn implements adapter.Router.
func (r *Router) RoutePacketConn(_ context.Context, conn N.PacketConn, _ *adapter.Metadata) error {
	return errors.Join(errors.New("no packets here"), conn.Close())
}

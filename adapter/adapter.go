// Package adapter holds the contracts between the layers: an inbound turns bytes into a connection
// and its Metadata, the router decides, an outbound turns Metadata back into bytes, and a panel
// changes only the set of users. It has no behaviour of its own.
package adapter

import (
	"context"
	"net"
	"net/netip"

	N "github.com/sagernet/sing/common/network"
)

// Router takes ownership of a connection, blocks until it is closed and says why.
// A nil error means that both sides finished.
type Router interface {
	RouteConn(ctx context.Context, conn net.Conn, md *Metadata) error
	RoutePacketConn(ctx context.Context, conn N.PacketConn, md *Metadata) error
}

// Inbound accepts clients of one protocol on one set of addresses.
type Inbound interface {
	Tag() string
	Start() error // binds and accepts
	Close() error // stops accepting, closes what is open, waits
}

// UserManager is implemented by inbounds with users.
type UserManager interface {
	// SwapUsers publishes users as the complete set. On error the old set stays and the error
	// names the user. users is not kept.
	SwapUsers(users []*User) error
}

// Outbound reaches destinations in one way.
type Outbound interface {
	Tag() string
	// Dial connects to md.Destination, or to md.Addresses when they are already known.
	Dial(ctx context.Context, md *Metadata) (net.Conn, error)
	// ListenPacket opens one unconnected packet socket that serves every destination of a session.
	ListenPacket(ctx context.Context, md *Metadata) (N.PacketConn, error)
	Close() error
}

// Resolver finds the addresses of a host. Policy (family, server for a domain) lives inside.
type Resolver interface {
	// Lookup returns at least one address, unmapped, in the order to try them, or an error.
	// inbound is the tag that the connection came in on, whose own policy goes first; it is empty for
	// what heki does by itself. An IP literal is returned as it is. The slice is shared: do not change it.
	Lookup(ctx context.Context, inbound, host string) ([]netip.Addr, error)
}

// Package transport is a switch over what may stand between a TCP or TLS connection and the protocol
// on it.
package transport

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"heki/constant"
	"heki/option"
	"heki/transport/grpc"
	"heki/transport/h2"
	"heki/transport/httpheader"
	"heki/transport/httpupgrade"
	"heki/transport/ws"
)

// Server turns accepted connections into streams.
type Server interface {
	// Serve owns conn and returns once it is done with it. handle is called once for each stream on
	// it, owns the stream and blocks until that is done. source is valid when a trusted proxy has
	// named another client than the peer of conn.
	//
	// A deadline of conn bounds the time until handle, which clears it. The error is why conn brought
	// no stream.
	//
	// Where a connection carries many streams, handle runs in a goroutine of its own for each, and
	// recovers from its panics itself: nobody else can.
	Serve(ctx context.Context, conn net.Conn, handle func(ctx context.Context, conn net.Conn, source netip.AddrPort)) error
}

// NewServer returns the server of a transport, or nil for plain TCP. Headers that name a client are
// believed from peers in trusted.
func NewServer(o *option.Transport, trusted []netip.Prefix) (Server, error) {
	switch kind(o) {
	case constant.TransportTCP:
		return nil, nil
	case constant.TransportWS:
		return ws.New(o, trusted)
	case constant.TransportHTTP:
		return h2.New(o, trusted)
	case constant.TransportGRPC:
		return grpc.New(o, trusted)
	case constant.TransportHTTPUpgrade:
		return httpupgrade.New(o, trusted)
	case constant.TransportTCPHTTPHeader:
		return httpheader.New(o)
	}
	return nil, fmt.Errorf("transport %q is unknown", o.Type)
}

// ALPN returns the protocols that a transport needs TLS to negotiate, most wanted first; none for
// plain TCP, which takes any.
func ALPN(o *option.Transport) []string {
	switch kind(o) {
	case constant.TransportWS, constant.TransportHTTPUpgrade:
		return []string{"http/1.1"}
	case constant.TransportHTTP, constant.TransportGRPC:
		return []string{"h2", "http/1.1"} // the second one for browsers, and for clients without h2
	}
	return nil
}

func kind(o *option.Transport) string {
	if o == nil || o.Type == constant.NetworkTCP {
		return constant.TransportTCP
	}
	return o.Type
}

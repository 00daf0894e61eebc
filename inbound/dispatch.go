package inbound

import (
	"context"
	"io"
	"log/slog"
	"runtime/debug"
	"sync/atomic"

	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/internal/protocol/muxcool"
	"heki/internal/protocol/packetaddr"
	"heki/internal/protocol/singmux"
	"heki/internal/protocol/uot"
	"heki/internal/protocol/wire"
	"heki/option"
)

// Dispatcher hands authenticated streams and packet sessions to the router, after what clients put
// between their protocol and the payload: Mux.Cool with XUDP, sing-mux, packetaddr, UDP over TCP. One
// serves one inbound.
type Dispatcher struct {
	router    adapter.Router
	log       *slog.Logger
	multiplex option.Multiplex
	sessions  *muxcool.Registry // packet sessions that outlive their connection
	noted     atomic.Int64      // when a refused sing-mux was last logged, unix seconds
}

// NewDispatcher returns a dispatcher for env's router and the inbound that o describes. Close it with
// its inbound.
func NewDispatcher(env Env, o *option.Stream) *Dispatcher {
	d := &Dispatcher{router: env.Router, log: env.Log, sessions: muxcool.NewRegistry()}
	if o.Multiplex != nil {
		d.multiplex = *o.Multiplex
	}
	return d
}

// Close ends the packet sessions that are waiting for their client to come back.
func (d *Dispatcher) Close() { d.sessions.Close() }

// Stream routes conn to md.Destination, or takes it apart when that is Mux.Cool's, sing-mux's or UDP
// over TCP's. It owns conn.
func (d *Dispatcher) Stream(ctx context.Context, conn wire.Conn, md *adapter.Metadata) error {
	switch {
	case muxcool.IsMuxDestination(md.Destination):
		return d.muxCool(ctx, conn, md)
	case singmux.IsDestination(md.Destination):
		return d.singMux(ctx, conn, md)
	}
	if legacy, ok := uot.IsDestination(md.Destination); ok {
		return d.packetsOverStream(ctx, conn, md, legacy)
	}
	return d.router.RouteConn(ctx, conn, md)
}

// Packets routes a packet session, whose first destination is md.Destination. It owns conn.
func (d *Dispatcher) Packets(ctx context.Context, conn N.PacketConn, md *adapter.Metadata) error {
	if packetaddr.IsDestination(md.Destination) {
		conn = packetaddr.NewConn(conn, md.Destination)
		md.Destination = M.Socksaddr{} // every packet names its own
	}
	return d.router.RoutePacketConn(ctx, conn, md)
}

// recovered, when deferred, keeps the panic of one connection from ending all others.
func recovered(log *slog.Logger, md *adapter.Metadata, conn io.Closer) {
	cause := recover()
	if cause == nil {
		return
	}
	log.Error("panic while serving a connection", "conn", md, "cause", cause, "stack", string(debug.Stack()))
	_ = conn.Close()
}

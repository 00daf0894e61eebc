package inbound

import (
	"context"
	"io"
	"log/slog"
	"net"
	"runtime/debug"

	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/internal/protocol/muxcool"
	"heki/internal/protocol/packetaddr"
	"heki/internal/protocol/wire"
)

// Dispatcher hands authenticated streams and packet sessions to the router, after what clients put
// between their protocol and the payload: Mux.Cool with XUDP, packetaddr. One serves one inbound.
type Dispatcher struct {
	router   adapter.Router
	log      *slog.Logger
	sessions *muxcool.Registry // packet sessions that outlive their connection
}

// NewDispatcher returns a dispatcher for env's router. Close it with its inbound.
func NewDispatcher(env Env) *Dispatcher {
	return &Dispatcher{router: env.Router, log: env.Log, sessions: muxcool.NewRegistry()}
}

// Close ends the packet sessions that are waiting for their client to come back.
func (d *Dispatcher) Close() { d.sessions.Close() }

// Stream routes conn to md.Destination, or takes it apart when that is Mux.Cool's. It owns conn.
func (d *Dispatcher) Stream(ctx context.Context, conn wire.Conn, md *adapter.Metadata) error {
	if !muxcool.IsMuxDestination(md.Destination) {
		return d.router.RouteConn(ctx, conn, md)
	}
	return muxcool.Serve(ctx, conn, muxcool.Options{
		Handler:  &muxHandler{d, *md},
		Registry: d.sessions,
		User:     sessionOwner{md.User.ID, md.User.Name},
	})
}

// sessionOwner is who a packet session belongs to. It survives a change of limits, which publishes a
// new User.
type sessionOwner struct {
	id   int64
	name string
}

// Packets routes a packet session, whose first destination is md.Destination. It owns conn.
func (d *Dispatcher) Packets(ctx context.Context, conn N.PacketConn, md *adapter.Metadata) error {
	if packetaddr.IsDestination(md.Destination) {
		conn = packetaddr.NewConn(conn, md.Destination)
		md.Destination = M.Socksaddr{} // every packet names its own
	}
	return d.router.RoutePacketConn(ctx, conn, md)
}

// muxHandler routes what a client opens inside a mux connection. Each has metadata of its own.
type muxHandler struct {
	d  *Dispatcher
	md adapter.Metadata
}

// NewStream implements muxcool.Handler.
func (h *muxHandler) NewStream(ctx context.Context, conn net.Conn, dst M.Socksaddr) {
	md := h.md
	md.Destination = dst
	defer recovered(h.d.log, &md, conn)
	_ = h.d.router.RouteConn(ctx, conn, &md)
}

// NewPacket implements muxcool.Handler.
func (h *muxHandler) NewPacket(ctx context.Context, conn N.PacketConn, dst M.Socksaddr) {
	md := h.md
	md.Destination = dst
	defer recovered(h.d.log, &md, conn)
	_ = h.d.Packets(ctx, conn, &md)
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

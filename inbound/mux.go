package inbound

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/adapter"
	"heki/internal/netio"
	"heki/internal/protocol/muxcool"
	"heki/internal/protocol/singmux"
	"heki/internal/protocol/uot"
	"heki/internal/protocol/wire"
)

// errNoMultiplex ends connections of sing-mux where that is off.
var errNoMultiplex = errors.New("sing-mux is off: set multiplex.enabled in the inbound, or turn multiplex off in the client")

// ErrPacketsOnly ends a Mux.Cool connection in which a client opens a stream that is not allowed.
var ErrPacketsOnly = errors.New("a stream in a mux connection for packets only: turn Mux.Cool for TCP off in the client")

// muxCool serves the streams of a Mux.Cool connection.
func (d *Dispatcher) muxCool(ctx context.Context, conn wire.Conn, md *adapter.Metadata) error {
	return d.serveMuxCool(ctx, conn, md, func(h *MuxHandler) muxcool.Handler { return h })
}

// PacketsOnly serves a Mux.Cool connection in which the client may open packet sessions only. It owns
// conn.
func (d *Dispatcher) PacketsOnly(ctx context.Context, conn wire.Conn, md *adapter.Metadata) error {
	return d.serveMuxCool(ctx, conn, md, func(h *MuxHandler) muxcool.Handler { return packetsOnly{h} })
}

// packetsOnly ends the connection with the first stream.
type packetsOnly struct{ *MuxHandler }

// NewStream implements muxcool.Handler.
func (h packetsOnly) NewStream(_ context.Context, conn net.Conn, _ M.Socksaddr) {
	_ = conn.Close()
	h.end(ErrPacketsOnly)
}

func (d *Dispatcher) serveMuxCool(ctx context.Context, conn wire.Conn, md *adapter.Metadata, handler func(*MuxHandler) muxcool.Handler) error {
	return d.Muxed(ctx, md, func(ctx context.Context, h *MuxHandler) error {
		return muxcool.Serve(ctx, conn, muxcool.Options{
			Handler:  handler(h),
			Registry: d.sessions,
			User:     sessionOwner{md.User.ID, md.User.Name},
		})
	})
}

// sessionOwner is who a packet session belongs to. It survives a change of limits, which publishes a
// new User.
type sessionOwner struct {
	id   int64
	name string
}

// singMux serves the streams of a sing-mux connection, where that is on.
func (d *Dispatcher) singMux(ctx context.Context, conn wire.Conn, md *adapter.Metadata) error {
	if !d.multiplex.Enabled {
		d.noteNoMultiplex(ctx, md)
		return errors.Join(errNoMultiplex, conn.Close())
	}
	return d.Muxed(ctx, md, func(ctx context.Context, h *MuxHandler) error {
		err := singmux.Serve(ctx, conn, singmux.Options{
			Handler: h,
			Ahead:   func(c net.Conn) wire.Conn { return netio.NewConn(c) },
			Padding: d.multiplex.Padding,
		})
		if errors.Is(err, singmux.ErrNotPadded) {
			d.log.LogAttrs(ctx, slog.LevelDebug, "multiplex.padding is on, the client does not pad", slog.Any("conn", md))
		}
		return err
	})
}

// noteNoMultiplex tells the operator, at most once a minute, why clients do not get through: on their
// side it only looks like a server that does not answer.
func (d *Dispatcher) noteNoMultiplex(ctx context.Context, md *adapter.Metadata) {
	now, last := time.Now().Unix(), d.noted.Load()
	if now-last >= 60 && d.noted.CompareAndSwap(last, now) {
		d.log.LogAttrs(ctx, slog.LevelWarn, "refused", slog.Any("conn", md), slog.Any("err", errNoMultiplex))
	}
}

// Muxed runs serve, which ends with the user: a connection without streams has no lease that could
// cut it, so the first stream that finds the user gone does.
func (d *Dispatcher) Muxed(ctx context.Context, md *adapter.Metadata, serve func(context.Context, *MuxHandler) error) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	err := serve(ctx, &MuxHandler{d, *md, end})
	if cause := context.Cause(ctx); errors.Is(cause, adapter.ErrRemoved) || errors.Is(cause, ErrPacketsOnly) {
		return cause
	}
	return err
}

// MuxHandler routes what a client opens inside a mux connection. Each has metadata of its own.
type MuxHandler struct {
	d   *Dispatcher
	md  adapter.Metadata
	end context.CancelCauseFunc // ends the connection
}

// NewStream implements the Handler of muxcool, singmux and anytls.
func (h *MuxHandler) NewStream(ctx context.Context, conn net.Conn, dst M.Socksaddr) {
	md := h.md
	md.Destination = dst
	defer recovered(h.d.log, &md, conn)
	if legacy, ok := uot.IsDestination(dst); ok {
		h.routed(h.d.packetsOverStream(ctx, netio.NewConn(conn), &md, legacy))
		return
	}
	h.routed(h.d.router.RouteConn(ctx, conn, &md))
}

// NewPacket implements muxcool.Handler and singmux.Handler.
func (h *MuxHandler) NewPacket(ctx context.Context, conn N.PacketConn, dst M.Socksaddr) {
	md := h.md
	md.Destination = dst
	defer recovered(h.d.log, &md, conn)
	h.routed(h.d.Packets(ctx, conn, &md))
}

// routed looks at why a stream ended.
func (h *MuxHandler) routed(err error) {
	if errors.Is(err, adapter.ErrRemoved) {
		h.End()
	}
}

// End closes the connection of a user who is gone. It does not block.
func (h *MuxHandler) End() { h.end(adapter.ErrRemoved) }

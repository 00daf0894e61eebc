// Package muxcool is the server's side of Mux.Cool and XUDP: many streams and packet sessions over
// one connection, as Xray, V2Ray, sing-box and mihomo clients open them.
//
// There is no flow control per stream. A stream whose reader is slow has a bounded queue; when that
// is full the whole connection waits for it for a few seconds, then that stream alone is ended.
//
// Source: https://xtls.github.io/en/development/protocols/muxcool.html, protocols.md §5.1, §5.2, §12.6
package muxcool

import (
	"context"
	"net"
	"time"

	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/muxio"
	"heki/internal/protocol/wire"
)

// Host is the destination that asks for Mux.Cool in protocols without a command for it.
const Host = "v1.mux.cool"

// IsMuxDestination reports whether destination, of any port, asks for Mux.Cool.
func IsMuxDestination(destination M.Socksaddr) bool { return destination.Fqdn == Host }

const (
	// ChunkSize is the most payload of a frame towards the client, in bytes: Xray's buffer.
	ChunkSize = 8 << 10
	// MaxReply is the largest datagram towards the client in bytes. Xray ends the whole connection
	// on a larger one, so that any stranger's datagram could do it.
	MaxReply = ChunkSize
	// MaxStreams is the default of Options.MaxStreams: the most an Xray client can be told to use.
	MaxStreams = 1024
	// IdleTimeout is the default of Options.IdleTimeout: Xray closes after 60 to 120 s.
	IdleTimeout = 90 * time.Second

	maxEnds      = 4096 // Ends that the client does not read
	rememberEnds = 64   // ids that an End went out for and that still may get data
)

// ErrClosed is what reading a stream returns when its connection went away.
var ErrClosed = muxio.ErrClosed

// Handler serves what a client opens. Each call is on a goroutine of its own, owns its conn, closes
// it and returns once it is done. A panic is the handler's to recover.
//
// ctx ends with the connection, or for a session in a Registry with the session. A stream has no
// half-close: reading EOF means that the client has ended it both ways, and what it sent before is
// still read. HandshakeFailure(err), as sing's N.CloseOnHandshakeFailure calls it, makes Close tell
// the client that it ended badly.
type Handler interface {
	NewStream(ctx context.Context, conn net.Conn, destination M.Socksaddr)
	// NewPacket gets the destination of the first packet. Every packet has its own.
	NewPacket(ctx context.Context, conn N.PacketConn, destination M.Socksaddr)
}

// Options of one connection.
type Options struct {
	Handler Handler
	// Registry keeps the packet sessions that outlive a connection. nil: none do.
	Registry *Registry
	// User owns the sessions in Registry: the same user and GlobalID is the same session. It must be
	// comparable. nil: nothing outlives the connection.
	User any
	// MaxStreams bounds streams and sessions at once; those the client ended count until their
	// handler returned. 0 is the default.
	MaxStreams int
	// IdleTimeout closes a connection without streams. 0 is the default.
	IdleTimeout time.Duration
}

// Serve reads frames from conn until it ends, the client breaks the protocol, it idles, or ctx is
// done; then it closes conn, ends what is open and waits for the handlers. Sessions in the registry
// live on. The error is nil when the client closed or the connection idled.
func Serve(ctx context.Context, conn wire.Conn, opt Options) error {
	if opt.MaxStreams == 0 {
		opt.MaxStreams = MaxStreams
	}
	if opt.IdleTimeout == 0 {
		opt.IdleTimeout = IdleTimeout
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newServer(ctx, conn, opt)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	err := s.loop()
	s.shutdown()
	cancel()
	s.wg.Wait()
	return err
}

// Package singmux is the server's side of sing-mux, the multiplex of sing-box clients: many streams
// and packet sessions over one connection, by smux, yamux or HTTP/2, with padding or without.
//
// What streams say is decoded here; the sessions are those libraries. yamux and HTTP/2 bound what a
// stream may have waiting for its reader (256 KiB and 1 MiB); smux bounds only the whole connection
// (4 MiB), so there a stream whose reader is stuck holds up the others.
//
// Source: github.com/sagernet/sing-mux v0.3.6, protocols.md §5.4
package singmux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
)

// Host is the destination that asks for sing-mux. Clients name port 444.
const Host = "sp.mux.sing-box.arpa"

// IsDestination reports whether destination, of any port, asks for sing-mux.
func IsDestination(destination M.Socksaddr) bool { return destination.Fqdn == Host }

const (
	// MaxStreams is the default of Options.MaxStreams.
	MaxStreams = 512
	// IdleTimeout is the default of Options.IdleTimeout. Clients keep connections for later streams
	// and notice their end.
	IdleTimeout = 5 * time.Minute

	// requestTimeout is how long a client may take for the hello, and for the request of a stream
	// that it has opened: sing-box sends that with the first payload, or after 300 ms.
	requestTimeout = 30 * time.Second
	// chunkSize is the most payload in bytes of a frame towards the client: sing's buffer.
	chunkSize = 32 << 10
)

// Errors of Serve.
var (
	// ErrNotPadded says that a client does not pad, which Options.Padding asks for.
	ErrNotPadded = errors.New("connection without padding")
	// ErrTooManyStreams says that a client opened streams far beyond Options.MaxStreams.
	ErrTooManyStreams = errors.New("too many streams")
)

// Handler serves what a client opens. Each call is on a goroutine of its own, owns its conn, closes
// it and returns once it is done. A panic is the handler's to recover. ctx ends with the connection.
//
// HandshakeSuccess of conn tells the client that its destination was reached, HandshakeFailure(err)
// that it was not; without either the first byte written means success.
type Handler interface {
	NewStream(ctx context.Context, conn net.Conn, destination M.Socksaddr)
	// NewPacket gets the destination of all packets, or one that means nothing, or none, when every
	// packet has its own.
	NewPacket(ctx context.Context, conn N.PacketConn, destination M.Socksaddr)
}

// Options of one connection.
type Options struct {
	Handler Handler
	// Ahead lets a stream be looked into: netio.NewConn. It owns the stream. When it has a Drop, that
	// is called once the handler has returned.
	Ahead func(net.Conn) wire.Conn
	// Padding refuses clients that do not pad. Those that do are always answered with padding.
	Padding bool
	// MaxStreams bounds streams and sessions at once. 0 is the default.
	MaxStreams int
	// IdleTimeout closes a connection without streams. 0 is the default.
	IdleTimeout time.Duration
}

// Serve answers the client on conn until it ends, breaks the protocol, idles, or ctx is done; then it
// closes conn, ends what is open and waits for the handlers. The error is nil when the client closed
// or the connection idled.
func Serve(ctx context.Context, conn wire.Conn, opt Options) error {
	if opt.MaxStreams == 0 {
		opt.MaxStreams = MaxStreams
	}
	if opt.IdleTimeout == 0 {
		opt.IdleTimeout = IdleTimeout
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	hello, err := readHello(conn)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("hello: %w", err)
	case opt.Padding && !hello.Padding:
		return ErrNotPadded
	}
	s := newServer(ctx, newCarrier(conn, hello), opt)
	switch hello.Protocol {
	case ProtocolSmux:
		err = s.serveSmux()
	case ProtocolYamux:
		err = s.serveYamux()
	default:
		err = s.serveHTTP2()
	}
	s.shutdown()
	s.conn.retire()
	cancel()
	s.wg.Wait()
	return err
}

// readHello reads the hello and what pads it.
func readHello(conn wire.Conn) (Hello, error) {
	timer := time.AfterFunc(requestTimeout, func() { _ = conn.Close() })
	defer timer.Stop()
	h, err := wire.ReadHeader(conn, ParseHello)
	if err != nil {
		return Hello{}, err
	}
	_, err = conn.Discard(h.PaddingSize)
	return h, err
}

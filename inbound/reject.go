package inbound

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"heki/adapter"
	"heki/constant"
	"heki/internal/netio"
	"heki/option"
	"heki/transport"
)

// drainLimit bounds what is read of a client that gets silence.
const drainLimit = 1 << 20

// reject gives those who are not users what they would find without heki: the fallback, an ordinary
// web server's answers inside TLS, else silence.
func (s *Stream) reject(ctx context.Context, conn *netio.Conn, md *adapter.Metadata, reason error) {
	s.debug(ctx, "not a user", md, reason)
	if server := s.fallback(conn); server != nil {
		if err := s.fallBack(ctx, conn, server); err != nil {
			s.debug(ctx, "fallback", md, err)
		}
		return
	}
	if s.security != nil && !s.o.TLS.HasReality() && s.transport == nil {
		s.debug(ctx, "answered as a web server", md, transport.Decoy(ctx, conn))
		return
	}
	drain(conn) // also where it is no web site: inside a transport, whose path one has to know, or REALITY
}

// fallBack joins conn, nothing of which is consumed, with server.
func (s *Stream) fallBack(ctx context.Context, conn *netio.Conn, server *option.Server) error {
	address := net.JoinHostPort(server.Server, strconv.Itoa(int(server.ServerPort)))
	d := net.Dialer{Timeout: constant.DialTimeout}
	remote, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		s.log.Warn("the fallback does not answer", "fallback", address, "err", err)
		return err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return errors.Join(err, remote.Close())
	}
	s.track(remote)
	defer s.untrack(remote)
	relay := netio.Relay{Idle: fallbackIdle, HalfClosed: constant.HalfCloseTimeout, PassReset: true}
	return relay.Run(conn, remote)
}

// fallbackIdle is longer than the keep-alive of usual web servers, which close first.
const fallbackIdle = 5 * time.Minute

// drain reads and forgets until the client gives up or the handshake deadline, which is still in
// force, has come: neither an answer nor the moment of closing tells what was wrong.
func drain(conn net.Conn) {
	_, _ = io.CopyN(io.Discard, conn, drainLimit)
	// Closing with unread bytes resets the connection, which an orderly end must not look like.
	if conn.SetReadDeadline(time.Now().Add(lastLook)) == nil {
		_, _ = io.CopyN(io.Discard, conn, drainLimit)
	}
}

// lastLook is how long bytes that arrived with the deadline are waited for.
const lastLook = 100 * time.Millisecond

package reality

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"heki/constant"
	"heki/internal/netio"
	"heki/transport/proxyproto"
)

// addressAge is how long the address that a target's name had is used without asking again: each
// connection of a user needs one with the target.
const addressAge = time.Minute

// address is one that the target has answered at.
type address struct {
	text string // host:port, no name
	at   time.Time
}

// dial connects with the target, and says who asks when it wants to know.
func (s *Server) dial(ctx context.Context, conn net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, constant.DialTimeout)
	defer cancel()
	remote, err := s.reach(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	h := proxyproto.Header{Source: netio.AddrPort(conn.RemoteAddr()), Destination: netio.AddrPort(conn.LocalAddr())}
	var head []byte
	switch s.xver {
	case 0:
		return remote, nil
	case 1:
		head = proxyproto.AppendV1(nil, h)
	default:
		head = proxyproto.AppendV2(nil, h)
	}
	if _, err := remote.Write(head); err != nil { // fits an empty socket: it does not wait
		return nil, fmt.Errorf("%w: %w", ErrTarget, errors.Join(err, remote.Close()))
	}
	return remote, nil
}

// reach connects with the address that worked a moment ago, else by name. When that finds none within
// half of the time, because the name servers do not answer, the old address has to do.
func (s *Server) reach(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	last := s.last.Load()
	if last == nil {
		return s.remember(d.DialContext(ctx, "tcp", s.target))
	}
	quick, cancel := context.WithTimeout(ctx, constant.DialTimeout/2)
	defer cancel()
	if time.Since(last.at) < addressAge {
		if remote, err := d.DialContext(quick, "tcp", last.text); err == nil {
			return remote, nil
		}
		return s.remember(d.DialContext(ctx, "tcp", s.target))
	}
	remote, err := s.remember(d.DialContext(quick, "tcp", s.target))
	if err != nil {
		if old, oldErr := d.DialContext(ctx, "tcp", last.text); oldErr == nil {
			return old, nil
		}
	}
	return remote, err
}

// remember notes the address of a new connection.
func (s *Server) remember(remote net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	if text := remote.RemoteAddr().String(); text != s.target {
		s.last.Store(&address{text: text, at: time.Now()})
	}
	return remote, nil
}

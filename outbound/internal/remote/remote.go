// Package remote reaches the server of an outbound: its address, TLS and transport.
package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"heki/adapter"
	"heki/constant"
	"heki/internal/netio"
	"heki/option"
	"heki/outbound"
	"heki/outbound/internal/dialer"
	"heki/transport"
	"heki/transport/tls"
)

// Server is one server and the way to it. Its methods are safe for concurrent use.
type Server struct {
	resolver adapter.Resolver
	dialer   *dialer.Dialer
	host     string
	port     uint16
	tls      *tls.Client // nil: none
	carrier  transport.Dialer
}

// New prepares the way to a server. Nothing is dialled yet.
func New(env outbound.Env, o *option.Remote, c option.Carrier) (*Server, error) {
	d, err := dialer.New(&o.Dial)
	if err != nil {
		return nil, err
	}
	if t := c.Transport; t != nil && (t.Type == constant.TransportHTTP || t.Type == constant.TransportGRPC) {
		d = d.Shared()
	}
	s := &Server{resolver: env.Resolver, dialer: d, host: o.Server, port: o.ServerPort}
	name, usual := s.host, uint16(80)
	if c.TLS.Uses() {
		if s.tls, err = tls.NewClient(c.TLS, s.host, transport.DialALPN(c.Transport)); err != nil {
			return nil, fmt.Errorf("tls: %w", err)
		}
		if usual = 443; c.TLS.ServerName != "" {
			name = c.TLS.ServerName
		}
	}
	s.carrier, err = transport.NewDialer(c.Transport, authority(name, s.port, usual), s.tls != nil, s.connect)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	return s, nil
}

// authority is the host and, unless it is the usual one, the port, as HTTP writes them.
func authority(host string, port, usual uint16) string {
	if port != usual {
		return net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// String is the server's address as the operator wrote it.
func (s *Server) String() string { return net.JoinHostPort(s.host, strconv.Itoa(int(s.port))) }

// Error names the server in err, once. It is for what goes wrong after Dial.
func (s *Server) Error(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("server %s: %w", s, err)
}

// dialTime bounds the way to the server: names, each address, TLS and transport.
const dialTime = 30 * time.Second

// Dial returns a stream to the server, TLS and transport done, that is the caller's. ctx bounds the
// time until then.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dialTime, errSlow)
	defer cancel()
	conn, err := s.carrier.DialContext(ctx)
	if err != nil {
		return nil, s.Error(err)
	}
	return conn, nil
}

var errSlow = errors.New("no answer in time")

// Greet dials, and runs a conversation that comes before payload within the time of a handshake. The
// stream, with what was read of it ahead, is the caller's.
func (s *Server) Greet(ctx context.Context, talk func(c *netio.Conn) error) (*netio.Conn, error) {
	conn, err := s.Dial(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, constant.HandshakeTimeout, errSlow)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c := netio.NewConn(conn)
	err = talk(c)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		return c, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	c.Drop()
	_ = conn.Close()
	return nil, s.Error(err)
}

// Takes refuses a network that the options of an outbound leave out.
func Takes(p *option.Packet, network string) error {
	if network == constant.NetworkTCP && p.HasTCP() || network == constant.NetworkUDP && p.HasUDP() {
		return nil
	}
	return fmt.Errorf("the outbound's network leaves out %s", network)
}

// connect is one connection below the transport.
func (s *Server) connect(ctx context.Context) (net.Conn, error) {
	addrs, err := s.addresses(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := s.dialer.Dial(ctx, addrs, s.port, netip.Addr{})
	if err != nil || s.tls == nil {
		return conn, err
	}
	secure, err := s.tls.Handshake(ctx, conn)
	if err != nil {
		return nil, err // a nil *tls.Conn would be no nil
	}
	return secure, nil
}

func (s *Server) addresses(ctx context.Context) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(s.host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, constant.DNSTimeout)
	defer cancel()
	return s.resolver.Lookup(ctx, "", s.host)
}

// DialPacket returns a UDP socket that speaks with to only, or with the server when to is invalid.
func (s *Server) DialPacket(ctx context.Context, to netip.AddrPort) (*net.UDPConn, error) {
	if to.IsValid() {
		c, err := s.dialer.DialPacket(ctx, to)
		return c, s.Error(err)
	}
	addrs, err := s.addresses(ctx)
	if err != nil {
		return nil, s.Error(err)
	}
	errs := make([]error, 0, len(addrs))
	for _, addr := range addrs { // the first that a route leads to
		c, err := s.dialer.DialPacket(ctx, netip.AddrPortFrom(addr, s.port))
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, s.Error(errors.Join(errs...))
}

// Close ends connections that streams share, and their streams; others live on.
func (s *Server) Close() error { return s.carrier.Close() }

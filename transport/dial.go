package transport

import (
	"context"
	"fmt"
	"net"

	"heki/constant"
	"heki/option"
	"heki/transport/grpc"
	"heki/transport/h2"
	"heki/transport/httpheader"
	"heki/transport/httpupgrade"
	"heki/transport/ws"
)

// Dialer opens streams to one server. Its methods are safe for concurrent use.
type Dialer interface {
	// DialContext returns a stream, the caller's to close. ctx bounds the time until then.
	DialContext(ctx context.Context) (net.Conn, error)
	// Close ends connections that streams share, and their streams; others live on.
	Close() error
}

// DialFunc makes one connection to the server, TLS included, with what DialALPN returns as ALPN.
type DialFunc func(ctx context.Context) (net.Conn, error)

// NewDialer returns the dialer of a transport over dial. host, with its port unless that is the
// scheme's, is asked for when o names none; secure says that dial does TLS.
func NewDialer(o *option.Transport, host string, secure bool, dial DialFunc) (Dialer, error) {
	switch kind(o) {
	case constant.TransportTCP:
		return &single{dial: dial}, nil
	case constant.TransportWS:
		d, err := ws.NewDialer(o, host)
		return &single{dial, d}, err
	case constant.TransportHTTP:
		return h2.NewDialer(o, host, secure, dial)
	case constant.TransportGRPC:
		return grpc.NewDialer(o, host, secure, dial)
	case constant.TransportHTTPUpgrade:
		d, err := httpupgrade.NewDialer(o, host)
		return &single{dial, d}, err
	case constant.TransportTCPHTTPHeader:
		d, err := httpheader.NewDialer(o, host)
		return &single{dial, d}, err
	}
	return nil, fmt.Errorf("transport %q is unknown", o.Type)
}

// DialALPN returns what a dialer's TLS offers; none for plain TCP.
func DialALPN(o *option.Transport) []string {
	switch kind(o) {
	case constant.TransportTCP, constant.TransportTCPHTTPHeader:
		return nil
	case constant.TransportHTTP, constant.TransportGRPC:
		return []string{"h2"}
	}
	return []string{"http/1.1"}
}

// single carries one stream on each connection.
type single struct {
	dial  DialFunc
	begin interface {
		Dial(ctx context.Context, conn net.Conn) (net.Conn, error)
	}
}

func (s *single) DialContext(ctx context.Context) (net.Conn, error) {
	conn, err := s.dial(ctx)
	if err != nil || s.begin == nil {
		return conn, err
	}
	return s.begin.Dial(ctx, conn)
}

func (s *single) Close() error { return nil }

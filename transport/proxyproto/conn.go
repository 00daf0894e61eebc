package proxyproto

import (
	"errors"
	"net"
	"net/netip"

	"heki/internal/netio"
)

// Read takes the header off the start of conn and returns whom it names; zero addresses say that
// those of the socket hold. Exactly the header is consumed. The deadline of conn bounds the wait.
//
// With required an error means that there is no header, or a bad one. Without, whatever is no whole
// header stays unread: it is the start of the stream.
func Read(conn *netio.Conn, required bool) (source, destination netip.AddrPort, err error) {
	for {
		h, n, err := Header{}, 0, ErrShort
		if b := conn.Buffered(); len(b) > 0 {
			h, n, err = Parse(b)
		}
		if err == nil {
			_, err = conn.Discard(n)
			return h.Source, h.Destination, err
		}
		if errors.Is(err, ErrShort) {
			if _, err = conn.PeekMore(); err == nil {
				continue
			}
		}
		if !required && len(conn.Buffered()) > 0 {
			err = nil // an error of the connection comes again
		}
		return netip.AddrPort{}, netip.AddrPort{}, err
	}
}

// Conn is a connection that a load balancer has handed on: its peer is the one the header names, so
// that what trusts peers by address does not trust the load balancer's clients.
type Conn struct {
	*netio.Conn
	source net.Addr
}

// NewConn returns conn with source as its peer.
func NewConn(conn *netio.Conn, source netip.AddrPort) *Conn {
	return &Conn{Conn: conn, source: net.TCPAddrFromAddrPort(source)}
}

// RemoteAddr returns whom the header named.
func (c *Conn) RemoteAddr() net.Addr { return c.source }

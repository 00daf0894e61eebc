package tls

import (
	"crypto/tls"
	"net"
	"unsafe"

	utls "github.com/metacubex/utls"
)

// Under returns what a server of metacubex/utls shall take for its connection, so that FromUTLS can
// make a Conn of it.
func Under(conn net.Conn) net.Conn { return &lower{Conn: conn, begun: true} }

// FromUTLS returns a Conn for c, whose handshake is done on a connection from Under.
func FromUTLS(c *utls.Conn) *Conn {
	return newConn(utlsConn{c}, c.NetConn().(*lower), utlsLayout.of(unsafe.Pointer(c)))
}

// utlsConn gives utls' connection the methods of crypto/tls'.
type utlsConn struct{ *utls.Conn }

// ConnectionState has what a server without client certificates knows.
func (c utlsConn) ConnectionState() tls.ConnectionState {
	s := c.Conn.ConnectionState()
	return tls.ConnectionState{
		Version:            s.Version,
		HandshakeComplete:  s.HandshakeComplete,
		DidResume:          s.DidResume,
		CipherSuite:        s.CipherSuite,
		NegotiatedProtocol: s.NegotiatedProtocol,
		ServerName:         s.ServerName,
	}
}

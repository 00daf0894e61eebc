package vless

import (
	"net"

	"heki/internal/protocol/wire"
)

// response is the response header: version and no addons. It never changes.
var response = []byte{Version, 0}

// ServerConn is the server's side of a stream after its request was read. The response header goes
// out with the first write.
type ServerConn struct{ wire.Preface }

var _ net.Conn = (*ServerConn)(nil)

// NewServerConn answers on conn. Closing it closes conn.
func NewServerConn(conn wire.Conn) *ServerConn {
	c := new(ServerConn)
	c.Begin(conn, response)
	return c
}

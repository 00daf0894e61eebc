//go:build !linux

package udp

import (
	"errors"
	"net"
)

// Raise asks for socket buffers of size bytes. It returns size when the system did not say no.
func Raise(c *net.UDPConn, size int) (int, error) {
	return size, errors.Join(c.SetReadBuffer(size), c.SetWriteBuffer(size))
}

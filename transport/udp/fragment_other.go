//go:build !linux

package udp

import "net"

// DontFragment needs Linux; elsewhere it does nothing.
func DontFragment(*net.UDPConn) error { return nil }

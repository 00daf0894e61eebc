//go:build !linux

package netio

import "net"

// awaitReset is for Linux only: elsewhere the next write finds out.
func awaitReset(net.Conn) error { return nil }

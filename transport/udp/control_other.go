//go:build !linux

package udp

import (
	"errors"
	"net"
	"syscall"

	"heki/option"
)

// sharing says that several sockets may share a port.
const sharing = false

func control(_ syscall.RawConn, o *option.Listen, _ bool) error {
	if o.ReuseAddr || o.BindInterface != "" {
		return errors.New("reuse_addr and bind_interface need Linux")
	}
	return nil
}

func share(*net.UDPConn) error { return nil }

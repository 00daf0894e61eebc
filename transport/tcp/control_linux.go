package tcp

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"heki/option"
)

// fastOpenQueue bounds the connections whose handshake carried data and is not finished.
const fastOpenQueue = 256

// control sets the options that must be set before bind. SO_REUSEADDR is set by Go.
func control(c syscall.RawConn, o *option.Listen) error {
	var errs []error
	set := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("set %s: %w", what, err))
		}
	}
	err := c.Control(func(fd uintptr) {
		s := int(fd)
		if o.ReuseAddr { // as in sing-box: several processes may share the port
			set("reuse_addr", unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
		}
		if o.BindInterface != "" {
			set("bind_interface", unix.BindToDevice(s, o.BindInterface))
		}
		if o.TCPFastOpen {
			set("tcp_fast_open", unix.SetsockoptInt(s, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, fastOpenQueue))
		}
	})
	return errors.Join(append(errs, err)...)
}

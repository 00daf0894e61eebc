package udp

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"heki/option"
)

// sharing says that several sockets may share a port.
const sharing = true

// control sets the options that must be set before bind.
func control(c syscall.RawConn, o *option.Listen, reuse bool) error {
	var errs []error
	err := c.Control(func(fd uintptr) {
		s := int(fd)
		if reuse {
			if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
				errs = append(errs, fmt.Errorf("share the port: %w", err))
			}
		}
		if o.BindInterface != "" {
			if err := unix.BindToDevice(s, o.BindInterface); err != nil {
				errs = append(errs, fmt.Errorf("set bind_interface: %w", err))
			}
		}
	})
	return errors.Join(append(errs, err)...)
}

// share lets more sockets bind to the address of c. The first one is bound without, so that a port
// that another process has is found out; the kernel makes the group when the second one comes.
func share(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var errSet error
	err = raw.Control(func(fd uintptr) {
		errSet = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	return errors.Join(err, errSet)
}

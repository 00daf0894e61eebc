package dialer

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// fastOpen lets the first write travel with the SYN, where both systems allow it.
func fastOpen(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var err error
	if failed := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1)
	}); failed != nil {
		return failed
	}
	return err
}

package dialer

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// userTimeout ends a connection whose peer confirms nothing for sharedTimeout: tcp(7). The system's own
// retries would go on for a quarter of an hour.
func userTimeout(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var err error
	if failed := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(sharedTimeout.Milliseconds()))
	}); failed != nil {
		return failed
	}
	return err
}

package udp

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// Raise asks for socket buffers of size bytes, beyond the system's limit when we may. It returns what
// the smaller one is now.
func Raise(c *net.UDPConn, size int) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	least := size
	var errs []error
	err = raw.Control(func(fd uintptr) {
		for _, o := range [][2]int{{unix.SO_RCVBUF, unix.SO_RCVBUFFORCE}, {unix.SO_SNDBUF, unix.SO_SNDBUFFORCE}} {
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, o[1], size) != nil { // needs CAP_NET_ADMIN
				errs = append(errs, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, o[0], size))
			}
			got, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, o[0])
			errs = append(errs, err)
			least = min(least, got/2) // the kernel doubles it for its own use
		}
	})
	return least, errors.Join(append(errs, err)...)
}

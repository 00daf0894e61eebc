package udp

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// DontFragment makes the system drop datagrams that are too long for the path, for protocols that find
// out by themselves how long they may be. What the system believes of the path is not asked.
func DontFragment(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var errV4, errV6 error
	err = raw.Control(func(fd uintptr) {
		errV4 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
		errV6 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
	})
	if errV4 == nil || errV6 == nil { // a socket of one family lacks the other's option
		return err
	}
	return errors.Join(err, errV4, errV6)
}

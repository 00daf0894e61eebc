package netio

import (
	"net"

	"golang.org/x/sys/unix"
)

// awaitReset waits, once the peer of c has finished, until it resets the connection as well, as it does
// when more comes after it has closed. The error is nil when c was closed here, or is no socket.
func awaitReset(c net.Conn) error {
	tcp, ok := UnwrapWriter(c).(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	var reset error
	_ = raw.Read(func(fd uintptr) bool { // called again whenever something happens to the socket
		// A read would return the end for ever.
		n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if n != 0 && err == nil {
			reset = &net.OpError{Op: "read", Net: "tcp", Err: unix.Errno(n)}
		}
		return n != 0 || err != nil
	})
	return reset
}

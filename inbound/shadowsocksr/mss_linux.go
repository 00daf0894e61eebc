package shadowsocksr

import (
	"syscall"

	"heki/internal/netio"
)

// mss is the segment size of conn in bytes, which auth_chain tells its clients, or 0.
func mss(conn *netio.Conn) (n int) {
	tcp := netio.RawTCP(conn.Conn)
	if tcp == nil {
		return 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if v, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG); err == nil {
			n = v
		}
	})
	return n
}

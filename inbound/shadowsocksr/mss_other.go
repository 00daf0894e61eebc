//go:build !linux

package shadowsocksr

import "heki/internal/netio"

// mss is not known here.
func mss(*netio.Conn) int { return 0 }

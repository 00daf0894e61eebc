//go:build !linux

package dialer

import "syscall"

// userTimeout needs Linux.
func userTimeout(string, string, syscall.RawConn) error { return nil }

//go:build !linux

package dialer

import "syscall"

// fastOpen needs Linux.
func fastOpen(string, string, syscall.RawConn) error { return nil }

//go:build !linux

package direct

import "syscall"

// fastOpen needs Linux.
func fastOpen(string, string, syscall.RawConn) error { return nil }

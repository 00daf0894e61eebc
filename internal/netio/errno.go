package netio

import (
	"errors"
	"syscall"
)

// isNotConnected says that the peer had reset the connection before we ended our side of it.
func isNotConnected(err error) bool { return errors.Is(err, syscall.ENOTCONN) }

// IsReset says that the peer has reset the connection, which a write may learn of late.
func IsReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

package netio

import (
	"errors"
	"syscall"
)

// isNotConnected says that the peer had reset the connection before we ended our side of it.
func isNotConnected(err error) bool { return errors.Is(err, syscall.ENOTCONN) }

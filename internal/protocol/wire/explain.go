package wire

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// Explain is what a client is told about err, when its protocol can say so: what our rules and
// addresses are is not the client's business.
func Explain(err error) string {
	var ne net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "no route to host"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return "timed out"
	}
	return "not reached"
}

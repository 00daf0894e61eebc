//go:build !linux

package netio

import (
	"errors"
	"net"
)

// Splicer exists on Linux only.
type Splicer struct{}

// NewSplicer returns errors.ErrUnsupported.
func NewSplicer(dst, src *net.TCPConn) (*Splicer, error) { return nil, errors.ErrUnsupported }

// Next returns errors.ErrUnsupported.
func (*Splicer) Next() (int64, error) { return 0, errors.ErrUnsupported }

//go:build !linux

package tcp

import (
	"errors"
	"syscall"

	"heki/option"
)

func control(_ syscall.RawConn, o *option.Listen) error {
	if o.ReuseAddr || o.BindInterface != "" || o.TCPFastOpen {
		return errors.New("reuse_addr, bind_interface and tcp_fast_open need Linux")
	}
	return nil
}

package netio

import (
	"errors"
	"io"
	"net"

	N "github.com/sagernet/sing/common/network"
)

// CloseWrite ends the writing side of c so that its peer reads EOF, looking through replaceable
// wrappers. errors.ErrUnsupported says that c has no such half-close.
func CloseWrite(c io.Writer) error {
	for {
		if w, ok := c.(interface{ CloseWrite() error }); ok {
			return w.CloseWrite()
		}
		inner, ok := upstreamWriter(c)
		if !ok {
			return errors.ErrUnsupported
		}
		c = inner
	}
}

// UnwrapWriter looks through wrappers that say they may be skipped for writing.
func UnwrapWriter(w io.Writer) io.Writer {
	for {
		inner, ok := upstreamWriter(w)
		if !ok {
			return w
		}
		w = inner
	}
}

// UnwrapReader looks through wrappers that say they may be skipped for reading.
func UnwrapReader(r io.Reader) io.Reader {
	for {
		inner, ok := upstreamReader(r)
		if !ok {
			return r
		}
		r = inner
	}
}

func upstreamWriter(w io.Writer) (io.Writer, bool) {
	if u, ok := w.(N.WriterWithUpstream); !ok || !u.WriterReplaceable() {
		return nil, false
	}
	switch u := w.(type) {
	case N.WithUpstreamWriter:
		inner, ok := u.UpstreamWriter().(io.Writer)
		return inner, ok
	case interface{ Upstream() any }:
		inner, ok := u.Upstream().(io.Writer)
		return inner, ok
	}
	return nil, false
}

// RawTCP returns the socket under c for reading and writing alike, or nil when a wrapper that is not
// replaceable stands before it.
func RawTCP(c net.Conn) *net.TCPConn {
	tcp, ok := UnwrapReader(c).(*net.TCPConn)
	if !ok || UnwrapWriter(c) != io.Writer(tcp) {
		return nil
	}
	return tcp
}

// ResetOnClose makes Close of c reset the connection and forget what was not sent yet, when a socket is
// under c.
func ResetOnClose(c net.Conn) {
	if tcp, ok := UnwrapWriter(c).(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // of a closed one it is too late
	}
}

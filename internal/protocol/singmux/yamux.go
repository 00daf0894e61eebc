package singmux

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
)

const (
	// yamuxWriteTimeout is how long one frame may wait for the client to read. The library's 10 s are
	// too few for many downloads over a slow line.
	yamuxWriteTimeout = time.Minute
	// yamuxCloseTimeout is how long a client may go on with a stream that we have closed.
	yamuxCloseTimeout = time.Minute
	// shrinkBelow is how many bytes a read returns after which a stream's buffer is not kept.
	shrinkBelow = 16 << 10
)

func yamuxConfig() *yamux.Config {
	c := yamux.DefaultConfig()
	c.LogOutput = io.Discard
	c.ConnectionWriteTimeout = yamuxWriteTimeout
	c.StreamCloseTimeout = yamuxCloseTimeout
	return c
}

// serveYamux serves streams until the session ends.
func (s *server) serveYamux() error {
	session, err := yamux.Server(s.conn, yamuxConfig())
	if err != nil {
		return err
	}
	defer session.Close()
	for {
		st, err := session.AcceptStream()
		if err != nil {
			return s.ended(err)
		}
		// Those that we have closed and the client has not are there for a minute.
		if session.NumStreams() > 4*s.opt.MaxStreams {
			return s.ended(ErrTooManyStreams)
		}
		s.accept(&yamuxStream{Stream: st})
	}
}

// yamuxStream is a stream of yamux, which has a half-close.
type yamuxStream struct {
	*yamux.Stream
	closed  atomic.Bool
	options N.ReadWaitOptions
}

var (
	_ stream       = (*yamuxStream)(nil)
	_ N.ReadWaiter = (*yamuxStream)(nil)
)

// Read implements io.Reader.
func (st *yamuxStream) Read(p []byte) (int, error) {
	n, err := st.Stream.Read(p)
	if err != nil && st.closed.Load() {
		err = net.ErrClosed
	}
	return n, err
}

// Write implements io.Writer. The library copies what it keeps.
func (st *yamuxStream) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = st.Stream.Write(p[n:min(len(p), n+chunkSize)])
		n += m
	}
	if err != nil && st.closed.Load() {
		err = net.ErrClosed
	}
	return n, err
}

// InitializeReadWaiter implements N.ReadWaiter.
func (st *yamuxStream) InitializeReadWaiter(options N.ReadWaitOptions) bool {
	st.options = options
	return false
}

// WaitReadBuffer implements N.ReadWaiter. An empty read waits until there is something.
func (st *yamuxStream) WaitReadBuffer() (*buf.Buffer, error) {
	if _, err := st.Read(nil); err != nil {
		return nil, err
	}
	b := wire.NewBuffer(chunkSize, st.options)
	n, err := st.Read(b.Extend(chunkSize))
	if n == 0 {
		b.Release()
		return nil, err
	}
	if n < shrinkBelow {
		st.Shrink()
	}
	b.Truncate(n)
	return b, nil
}

// CloseWrite ends the writing side.
func (st *yamuxStream) CloseWrite() error { return st.Stream.Close() }

// Close implements stream.
func (st *yamuxStream) Close() error {
	st.closed.Store(true)
	return st.Stream.SetDeadline(time.Unix(1, 0))
}

// finish ends the writing side, which is all that the library knows. A client that goes on all the
// same is reset after yamuxCloseTimeout.
func (st *yamuxStream) finish() { _ = st.Stream.Close() }

// SetDeadline implements net.Conn.
func (st *yamuxStream) SetDeadline(t time.Time) error {
	return errors.Join(st.SetReadDeadline(t), st.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn. It does not undo Close.
func (st *yamuxStream) SetReadDeadline(t time.Time) error {
	err := st.Stream.SetReadDeadline(t)
	if st.closed.Load() {
		return st.Stream.SetReadDeadline(time.Unix(1, 0))
	}
	return err
}

// SetWriteDeadline implements net.Conn. It does not undo Close.
func (st *yamuxStream) SetWriteDeadline(t time.Time) error {
	err := st.Stream.SetWriteDeadline(t)
	if st.closed.Load() {
		return st.Stream.SetWriteDeadline(time.Unix(1, 0))
	}
	return err
}

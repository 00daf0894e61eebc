package singmux

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"
	"github.com/xtaci/smux"

	"heki/internal/protocol/wire"
)

// stuckTimeout is how long a client may not read a frame of a stream that was closed.
const stuckTimeout = 30 * time.Second

// smuxConfig is what sing-box uses: version 1, which has no flow control per stream, and no
// keep-alive. The bound of the connection is 4 MiB.
func smuxConfig() *smux.Config {
	c := smux.DefaultConfig()
	c.KeepAliveDisabled = true
	c.MaxFrameSize = chunkSize
	return c
}

// serveSmux serves streams until the session ends.
func (s *server) serveSmux() error {
	session, err := smux.Server(s.conn, smuxConfig())
	if err != nil {
		return err
	}
	defer session.Close()
	for {
		st, err := session.AcceptStream()
		if err != nil {
			return s.ended(err)
		}
		s.accept(&smuxStream{Stream: st, conn: s.conn})
	}
}

// smuxStream is a stream of smux. sing-box's smux has no half-close: an end of the one side is the end
// of both.
type smuxStream struct {
	*smux.Stream
	conn    *carrier
	over    atomic.Bool // the client has ended it, or CloseWrite
	closed  atomic.Bool // Close
	writing atomic.Bool // a frame is on its way
	options N.ReadWaitOptions
	first   *buf.Buffer // what Write has taken
}

var (
	_ stream       = (*smuxStream)(nil)
	_ N.ReadWaiter = (*smuxStream)(nil)
)

// Read implements io.Reader.
func (st *smuxStream) Read(p []byte) (int, error) {
	n, err := st.Stream.Read(p)
	return n, st.note(err)
}

// note makes the client's end an end of writing too, or a cancelled download would run on.
func (st *smuxStream) note(err error) error {
	switch {
	case err == io.EOF:
		st.over.Store(true)
	case err == nil:
	case st.over.Load():
		return io.EOF
	case st.closed.Load():
		return net.ErrClosed
	}
	return err
}

// Write implements io.Writer.
func (st *smuxStream) Write(p []byte) (int, error) {
	st.writing.Store(true) // before the look at the others: Close does these two the other way round
	defer st.writing.Store(false)
	switch {
	case st.closed.Load():
		return 0, net.ErrClosed
	case st.over.Load():
		return 0, io.ErrClosedPipe
	}
	return writeChunks(st.Stream, p)
}

// InitializeReadWaiter implements N.ReadWaiter.
func (st *smuxStream) InitializeReadWaiter(options N.ReadWaitOptions) bool {
	st.options = options
	return false
}

// errTaken ends a WriteTo after one frame.
var errTaken = errors.New("taken")

// WaitReadBuffer implements N.ReadWaiter: it returns what one frame brought, and holds no buffer while
// it waits.
func (st *smuxStream) WaitReadBuffer() (*buf.Buffer, error) {
	_, err := st.Stream.WriteTo((*taker)(st))
	if b := st.first; b != nil {
		st.first = nil
		return b, nil
	}
	if err == nil {
		err = io.EOF
	}
	return nil, st.note(err)
}

// taker takes one frame of a stream.
type taker smuxStream

func (t *taker) Write(p []byte) (int, error) {
	t.first = wire.NewBuffer(len(p), t.options)
	_, _ = t.first.Write(p)
	return len(p), errTaken
}

// CloseWrite ends the stream.
func (st *smuxStream) CloseWrite() error {
	st.over.Store(true)
	return st.Close()
}

// Close implements stream. A frame on its way cannot be called back; when the client does not take it
// for stuckTimeout the connection is closed.
func (st *smuxStream) Close() error {
	st.closed.Store(true)
	if st.writing.Load() {
		time.AfterFunc(stuckTimeout, func() {
			if st.writing.Load() {
				_ = st.conn.Close()
			}
		})
	}
	return st.Stream.SetReadDeadline(time.Unix(1, 0))
}

// finish ends the stream both ways. The library waits 30 s for a client that does not read.
func (st *smuxStream) finish() {
	if err := st.Stream.Close(); errors.Is(err, smux.ErrTimeout) {
		_ = st.conn.Close()
	}
}

// SetDeadline sets the one for reading.
func (st *smuxStream) SetDeadline(t time.Time) error { return st.SetReadDeadline(t) }

// SetReadDeadline implements net.Conn. It does not undo Close.
func (st *smuxStream) SetReadDeadline(t time.Time) error {
	err := st.Stream.SetReadDeadline(t)
	if st.closed.Load() {
		return st.Stream.SetReadDeadline(time.Unix(1, 0))
	}
	return err
}

// SetWriteDeadline does nothing: smux sends a frame all the same whose writer has given up.
func (st *smuxStream) SetWriteDeadline(time.Time) error { return nil }

package singmux

import (
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
)

const (
	http2StreamBuffer = 1 << 20 // bytes that a stream may have waiting for its reader
	http2ConnBuffer   = 4 << 20 // the same over all streams
	http2FrameSize    = chunkSize
)

// serveHTTP2 serves streams until the session ends.
func (s *server) serveHTTP2() error {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{
		Handler:           http.HandlerFunc(s.serveRequest),
		Protocols:         &protocols,
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: requestTimeout,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          s.opt.MaxStreams,
			MaxReadFrameSize:              http2FrameSize,
			MaxReceiveBufferPerStream:     http2StreamBuffer,
			MaxReceiveBufferPerConnection: http2ConnBuffer,
		},
	}
	l := &single{conn: s.conn, closed: make(chan struct{})}
	_ = srv.Serve(l) // always an error: that of the second Accept
	return s.ended(io.EOF)
}

// single is a listener with one connection. It ends with that.
type single struct {
	conn   *carrier
	taken  bool
	once   sync.Once
	closed chan struct{}
}

// Accept implements net.Listener.
func (l *single) Accept() (net.Conn, error) {
	if !l.taken {
		l.taken = true
		return &singleConn{l.conn, l}, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

// Close implements net.Listener.
func (l *single) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *single) Addr() net.Addr { return l.conn.LocalAddr() }

// singleConn tells its listener that the server is done with it.
type singleConn struct {
	*carrier
	l *single
}

// Close implements net.Conn.
func (c *singleConn) Close() error {
	_ = c.l.Close()
	return c.carrier.Close()
}

// serveRequest serves one stream: a CONNECT whose body and answer are its two directions.
func (s *server) serveRequest(w http.ResponseWriter, r *http.Request) {
	fits, ok := s.enter()
	if !ok {
		return
	}
	defer s.leave()
	if !fits {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	rc := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	if err := rc.Flush(); err != nil { // sing-box gives up after 5 s without an answer
		return
	}
	st := &http2Stream{
		w: w, rc: rc, body: r.Body, conn: s.conn,
		ready: make(chan error, 1), more: make(chan struct{}, 1), done: make(chan struct{}),
	}
	var watch sync.WaitGroup
	watch.Go(st.watch)
	s.serve(st)
	st.finish()
	watch.Wait()
}

// http2Stream is a stream of HTTP/2. The library has no read deadline that can be taken back and no
// half-close for servers.
type http2Stream struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	body io.ReadCloser
	conn *carrier

	ready    chan error    // body has data, or has ended
	more     chan struct{} // it was read: watch on
	done     chan struct{} // closed
	once     sync.Once
	over     atomic.Bool // CloseWrite was called: reading ends in order
	deadline wire.Deadline
	some     bool  // body has data
	err      error // body has ended
	options  N.ReadWaitOptions

	wmu sync.Mutex // writing

	mu       sync.Mutex
	finished bool // w must not be touched
}

var (
	_ stream       = (*http2Stream)(nil)
	_ N.ReadWaiter = (*http2Stream)(nil)
)

// watch waits for data without a buffer: an empty read of a body returns once there is some.
func (st *http2Stream) watch() {
	for {
		_, err := st.body.Read(nil)
		st.ready <- err
		if err != nil {
			return
		}
		select {
		case <-st.more:
		case <-st.done:
			return
		}
	}
}

// await waits until the body can be read without blocking.
func (st *http2Stream) await() error {
	select {
	case <-st.done:
		return st.closedError()
	default:
	}
	switch {
	case st.err != nil:
		return st.err
	case st.some:
		return nil
	case st.deadline.Over():
		return os.ErrDeadlineExceeded
	}
	select {
	case st.err = <-st.ready:
		st.some = st.err == nil
		return st.err
	case <-st.done:
		return st.closedError()
	case <-st.deadline.Done():
		return os.ErrDeadlineExceeded
	}
}

func (st *http2Stream) closedError() error {
	if st.over.Load() {
		return io.EOF
	}
	return net.ErrClosed
}

// Read implements io.Reader.
func (st *http2Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := st.await(); err != nil {
		return 0, err
	}
	n, err := st.body.Read(p)
	st.some = false
	st.more <- struct{}{} // has room: watch has sent once for it
	return n, err
}

// InitializeReadWaiter implements N.ReadWaiter.
func (st *http2Stream) InitializeReadWaiter(options N.ReadWaitOptions) bool {
	st.options = options
	return false
}

// WaitReadBuffer implements N.ReadWaiter.
func (st *http2Stream) WaitReadBuffer() (*buf.Buffer, error) {
	if err := st.await(); err != nil {
		return nil, err
	}
	b := wire.NewBuffer(chunkSize, st.options)
	n, err := st.Read(b.Extend(chunkSize))
	if n == 0 {
		b.Release()
		return nil, err
	}
	b.Truncate(n)
	return b, nil
}

// Write implements io.Writer.
func (st *http2Stream) Write(p []byte) (int, error) {
	st.wmu.Lock()
	defer st.wmu.Unlock()
	select {
	case <-st.done:
		return 0, net.ErrClosed
	default:
	}
	n, err := writeChunks(st.w, p)
	if err == nil {
		err = st.rc.Flush()
	}
	return n, err
}

// CloseWrite ends the stream: the library ends the answer with the request.
func (st *http2Stream) CloseWrite() error {
	st.over.Store(true)
	return st.Close()
}

// Close ends the stream. A write that waits for the client is broken off.
func (st *http2Stream) Close() error {
	st.once.Do(func() { close(st.done) })
	if st.wmu.TryLock() { // no write is on its way, and none begins
		st.wmu.Unlock()
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.finished {
		return nil
	}
	return st.rc.SetWriteDeadline(time.Unix(1, 0))
}

// finish gives the request back to the library once its handler is done.
func (st *http2Stream) finish() {
	_ = st.Close()
	st.wmu.Lock() // no write is left
	defer st.wmu.Unlock()
	st.mu.Lock()
	st.finished = true
	st.mu.Unlock()
	_ = st.body.Close() // wakes watch
	st.deadline.Stop()
}

// LocalAddr returns the address of the connection.
func (st *http2Stream) LocalAddr() net.Addr { return st.conn.LocalAddr() }

// RemoteAddr returns the address of the connection.
func (st *http2Stream) RemoteAddr() net.Addr { return st.conn.RemoteAddr() }

// SetDeadline sets the one for reading.
func (st *http2Stream) SetDeadline(t time.Time) error { return st.SetReadDeadline(t) }

// SetReadDeadline implements net.Conn.
func (st *http2Stream) SetReadDeadline(t time.Time) error {
	st.deadline.Set(t)
	return nil
}

// SetWriteDeadline does nothing: in the library it ends the stream for good.
func (st *http2Stream) SetWriteDeadline(time.Time) error { return nil }

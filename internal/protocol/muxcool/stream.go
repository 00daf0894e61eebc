package muxcool

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
)

// keepHeader is the length in bytes of Keep with data and without an address.
const keepHeader = fixed + 2

// coalesce is the size in bytes, room around the payload included, of the buffers that small frames
// are gathered in while their reader is behind, so that it catches up with large writes.
const coalesce = 32 << 10

var (
	_ net.Conn         = (*stream)(nil)
	_ N.ExtendedWriter = (*stream)(nil)
	_ N.ReadWaiter     = (*stream)(nil)
)

// stream is a TCP stream of the client.
type stream struct {
	deadlines
	s     *server
	link  *link
	ready chan struct{} // there is something to read, or the end
	room  chan struct{} // something was read, or the end

	mu      sync.Mutex
	queue   fifo[*buf.Buffer]
	size    int   // what queue costs in bytes
	err     error // what reading returns once queue is empty; nil while it may grow
	closed  bool
	failed  bool // Close says so to the client
	options N.ReadWaitOptions
}

func newStream(s *server, id uint16) *stream {
	return &stream{
		s:     s,
		link:  newLink(s, id),
		ready: make(chan struct{}, 1),
		room:  make(chan struct{}, 1),
	}
}

// deliver implements session. It waits while the queue is full, up to stallTimeout.
func (st *stream) deliver(f *Frame, body *wire.Body) error {
	if f.Length == 0 {
		return nil
	}
	b, ok := st.reserve(f.Length)
	if !ok {
		return nil
	}
	if err := body.ReadFull(b.Extend(f.Length)); err != nil {
		b.Release()
		return err
	}
	st.put(b)
	return nil
}

// reserve returns a buffer for length bytes once the queue has room for them. It reports false when
// nobody will read them.
func (st *stream) reserve(length int) (*buf.Buffer, bool) {
	var stalled <-chan time.Time
	for {
		st.mu.Lock()
		if st.closed || st.err != nil {
			st.mu.Unlock()
			return nil, false
		}
		behind := st.size > 0
		fits := st.size+length <= streamQueue && st.s.queued.Load() <= totalQueue
		if !behind || fits { // one frame always fits, or a stream would wait for the others
			options := st.options
			st.mu.Unlock()
			if behind {
				length = max(length, coalesce-options.FrontHeadroom-options.RearHeadroom)
			}
			return wire.NewBuffer(length, options), true
		}
		st.mu.Unlock()
		if stalled == nil {
			timer := time.NewTimer(stallTimeout)
			defer timer.Stop()
			stalled = timer.C
		}
		select {
		case <-st.room:
		case <-st.s.ctx.Done():
			return nil, false
		case <-stalled:
			st.stall()
			return nil, false
		}
	}
}

// stall ends a stream whose reader holds up the others.
func (st *stream) stall() {
	st.mu.Lock()
	st.failed = true
	st.mu.Unlock()
	_ = st.Close()
}

// put appends b to the queue, or its bytes to the last buffer there.
func (st *stream) put(b *buf.Buffer) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed || st.err != nil {
		b.Release()
		return
	}
	if last := st.queue.last(); last != nil && (*last).FreeLen()-st.options.RearHeadroom >= b.Len() {
		_, _ = (*last).Write(b.Bytes())
		b.Release()
		return
	}
	st.queue.push(b)
	st.chargeLocked(cost(b))
	signal(st.ready)
}

// cost is what a queued buffer takes in bytes.
func cost(b *buf.Buffer) int { return b.RawCap() + queueCost }

func (st *stream) chargeLocked(n int) {
	st.size += n
	st.s.queued.Add(int64(n))
}

// popLocked takes the first buffer off the queue.
func (st *stream) popLocked() *buf.Buffer {
	b := st.queue.pop()
	st.chargeLocked(-cost(b))
	signal(st.room)
	return b
}

// waitLocked returns with mu held: with nil once there is something to read.
func (st *stream) waitLocked() error {
	for {
		st.mu.Lock()
		var err error
		switch {
		case st.closed:
			err = net.ErrClosed
		case st.read.Over():
			return os.ErrDeadlineExceeded
		case st.queue.len() > 0:
			return nil
		case st.err != nil:
			err = st.err
		}
		if err != nil {
			signal(st.ready) // for whoever else waits
			return err
		}
		st.mu.Unlock()
		select {
		case <-st.ready:
		case <-st.read.Done():
		}
	}
}

// Read implements io.Reader.
func (st *stream) Read(p []byte) (int, error) {
	err := st.waitLocked()
	defer st.mu.Unlock()
	if err != nil {
		return 0, err
	}
	b := *st.queue.first()
	n, _ := b.Read(p)
	if b.IsEmpty() {
		st.popLocked().Release()
	}
	return n, nil
}

// InitializeReadWaiter implements N.ReadWaiter.
func (st *stream) InitializeReadWaiter(options N.ReadWaitOptions) bool {
	st.mu.Lock()
	st.options = options
	st.mu.Unlock()
	return false
}

// WaitReadBuffer implements N.ReadWaiter: what is queued is handed over as it is.
func (st *stream) WaitReadBuffer() (*buf.Buffer, error) {
	err := st.waitLocked()
	defer st.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return st.options.Copy(st.popLocked()), nil // a copy only when it was queued before the options
}

// Write implements io.Writer in frames of at most ChunkSize.
func (st *stream) Write(p []byte) (n int, err error) {
	scratch := buf.Get(keepHeader + ChunkSize)
	for n < len(p) && err == nil {
		chunk := copy(scratch[keepHeader:], p[n:])
		st.header(scratch, chunk)
		if err = st.send(scratch[:keepHeader+chunk]); err == nil {
			n += chunk
		}
	}
	_ = buf.Put(scratch)
	return n, err
}

// WriteBuffer implements N.ExtendedWriter. It owns b. The headers of the second frame and those after
// it are put where bytes were that are sent already, so nothing is copied.
func (st *stream) WriteBuffer(b *buf.Buffer) error {
	defer b.Release()
	if b.Start() < keepHeader {
		_, err := st.Write(b.Bytes())
		return err
	}
	for !b.IsEmpty() {
		chunk := min(b.Len(), ChunkSize)
		st.header(b.ExtendHeader(keepHeader), chunk)
		if err := st.send(b.To(keepHeader + chunk)); err != nil {
			return err
		}
		b.Advance(keepHeader + chunk)
	}
	return nil
}

// header writes the frame header of length bytes of payload to p.
func (st *stream) header(p []byte, length int) {
	p = p[:keepHeader]
	binary.BigEndian.PutUint16(p, minMeta)
	binary.BigEndian.PutUint16(p[2:], st.link.id)
	p[4], p[5] = byte(StatusKeep), OptionData
	binary.BigEndian.PutUint16(p[6:], uint16(length))
}

func (st *stream) send(frame []byte) error {
	err := st.link.send(frame, &st.write)
	if err != nil && errors.Is(err, io.ErrClosedPipe) && st.isClosed() {
		return net.ErrClosed
	}
	return err
}

func (st *stream) isClosed() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.closed
}

// FrontHeadroom is what WriteBuffer puts before a chunk.
func (st *stream) FrontHeadroom() int { return keepHeader }

// HandshakeFailure makes Close tell the client that the stream ended badly. It implements
// N.HandshakeFailure.
func (st *stream) HandshakeFailure(error) error {
	st.mu.Lock()
	st.failed = true
	st.mu.Unlock()
	return nil
}

// Close ends the stream both ways, without waiting for the client.
func (st *stream) Close() error {
	st.mu.Lock()
	if st.closed {
		st.mu.Unlock()
		return nil
	}
	st.closed = true
	failed := st.failed
	for st.queue.len() > 0 {
		st.popLocked().Release()
	}
	st.mu.Unlock()
	st.wake()
	st.stopTimers()
	st.s.drop(st.link.id, st, failed)
	return nil
}

// CloseWrite ends the stream for the client, who has no half-close and stops sending on End. What it
// sent before is still read, then io.EOF. Xray's server does the same: whoever waits for the end of a
// download must not wait for a timeout.
func (st *stream) CloseWrite() error {
	if st.isClosed() {
		return net.ErrClosed
	}
	st.finish(io.EOF)
	st.s.drop(st.link.id, st, false)
	return nil
}

// ended implements session. What is queued is still read.
func (st *stream) ended(*server) { st.finish(io.EOF) }

// lost implements session.
func (st *stream) lost(*server) { st.finish(ErrClosed) }

func (st *stream) finish(err error) {
	st.mu.Lock()
	if st.err == nil {
		st.err = err
	}
	st.mu.Unlock()
	st.wake()
}

// wake makes writing fail and whoever waits look again.
func (st *stream) wake() {
	st.link.sever()
	signal(st.ready)
	signal(st.room)
}

// LocalAddr returns the address of the connection.
func (st *stream) LocalAddr() net.Addr { return st.s.conn.LocalAddr() }

// RemoteAddr returns the address of the connection.
func (st *stream) RemoteAddr() net.Addr { return st.s.conn.RemoteAddr() }

package anytls

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/address"
	"heki/internal/protocol/muxio"
	"heki/internal/protocol/wire"
)

var (
	_ net.Conn         = (*stream)(nil)
	_ N.ExtendedWriter = (*stream)(nil)
	_ N.ReadWaiter     = (*stream)(nil)
)

// stream is a stream of the client.
type stream struct {
	muxio.Deadlines
	muxio.Inbox
	link     muxio.Link
	s        *server
	id       uint32
	answered atomic.Bool // the client was told whether it was reached, if it wants to know
	ack      *time.Timer // answers when nobody else did; nil for version 1
}

func newStream(s *server, id uint32) *stream {
	st := &stream{s: s, id: id}
	st.Init(&s.queued, &st.Reading)
	st.link.Init(s.out)
	if s.version.Load() >= 2 {
		st.ack = time.AfterFunc(ackTimeout, st.late)
	} else {
		st.answered.Store(true)
	}
	return st
}

// serve reads where the stream goes and hands it to the handler.
func (st *stream) serve() {
	conn := st.s.opt.Ahead(st)
	if c, ok := conn.(interface{ Drop() }); ok {
		defer c.Drop() // what was read ahead and not used
	}
	timer := time.AfterFunc(requestTimeout, func() { _ = st.Close() })
	destination, err := wire.ReadHeader(conn, func(b []byte) (M.Socksaddr, int, error) { return address.ParseS(b, "") })
	timer.Stop()
	if err == nil {
		st.s.opt.Handler.NewStream(st.s.ctx, conn, destination)
	}
}

// deliver queues length bytes of the session's body. It waits while the queue is full; when that holds
// others up for muxio.StallTimeout, the stream is ended.
func (st *stream) deliver(length int) error {
	if length == 0 {
		return nil
	}
	b, err := st.Reserve(length, st.s.ctx.Done())
	for errors.Is(err, muxio.ErrStalled) && st.s.alone() {
		b, err = st.Reserve(length, st.s.ctx.Done())
	}
	if err != nil {
		if errors.Is(err, muxio.ErrStalled) {
			_ = st.Close()
		}
		return nil
	}
	if err := st.s.body.ReadFull(b.Extend(length)); err != nil {
		b.Release()
		return err
	}
	st.Put(b)
	return nil
}

// Write implements io.Writer in frames of at most ChunkSize.
func (st *stream) Write(p []byte) (n int, err error) {
	scratch := buf.Get(headerSize + min(len(p), ChunkSize))
	for n < len(p) && err == nil {
		chunk := copy(scratch[headerSize:], p[n:])
		st.header(scratch, chunk)
		if err = st.send(scratch[:headerSize+chunk]); err == nil {
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
	if b.Start() < headerSize {
		_, err := st.Write(b.Bytes())
		return err
	}
	for !b.IsEmpty() {
		chunk := min(b.Len(), ChunkSize)
		st.header(b.ExtendHeader(headerSize), chunk)
		if err := st.send(b.To(headerSize + chunk)); err != nil {
			return err
		}
		b.Advance(headerSize + chunk)
	}
	return nil
}

// header writes the frame header of length bytes of payload to p.
func (st *stream) header(p []byte, length int) {
	p = p[:headerSize]
	p[0] = byte(CommandPSH)
	binary.BigEndian.PutUint32(p[1:], st.id)
	binary.BigEndian.PutUint16(p[5:], uint16(length))
}

func (st *stream) send(frame []byte) error {
	err := st.link.Send(frame, &st.Writing)
	if err != nil && errors.Is(err, io.ErrClosedPipe) && st.IsShut() {
		return net.ErrClosed
	}
	return err
}

// FrontHeadroom is what WriteBuffer puts before a chunk.
func (st *stream) FrontHeadroom() int { return headerSize }

// answer tells the client once whether its destination was reached: "", or why not. It does not wait
// for the client.
func (st *stream) answer(why string) {
	if st.answered.Swap(true) {
		return
	}
	st.ack.Stop()
	st.s.out.Queue(appendText(nil, CommandSYNACK, st.id, why))
}

// late is answer once ackTimeout is over. It must not look at ack, which may not be set yet.
func (st *stream) late() {
	if !st.answered.Swap(true) {
		st.s.out.Queue(appendText(nil, CommandSYNACK, st.id, ""))
	}
}

// HandshakeSuccess tells the client that its destination was reached, before any payload.
func (st *stream) HandshakeSuccess() error {
	if st.answered.Swap(true) {
		return nil
	}
	st.ack.Stop()
	return st.send(AppendFrame(make([]byte, 0, headerSize), Frame{Command: CommandSYNACK, Stream: st.id}))
}

// HandshakeFailure tells the client that its destination was not reached, and roughly why.
func (st *stream) HandshakeFailure(err error) error {
	st.answer(wire.Explain(err))
	return nil
}

// Close ends the stream both ways, without waiting for the client.
func (st *stream) Close() error {
	if !st.Shut() {
		return nil
	}
	st.answer("closed") // nothing without an answer, or the client gives the session up
	st.link.Sever()
	st.StopTimers()
	st.fin()
	return nil
}

// CloseWrite ends the stream for the client, who has no half-close and stops sending on FIN. What it
// sent before is still read, then io.EOF.
func (st *stream) CloseWrite() error {
	if st.IsShut() {
		return net.ErrClosed
	}
	st.answer("")
	st.finish(io.EOF)
	st.fin()
	return nil
}

// fin tells the client of an end on our side.
func (st *stream) fin() {
	if st.s.drop(st) {
		st.s.out.Queue(AppendFrame(make([]byte, 0, headerSize), Frame{Command: CommandFIN, Stream: st.id}))
	}
}

// ended is the client's end. What is queued is still read. A client that is waiting for an answer gets
// it all the same: it may use the session on.
func (st *stream) ended() {
	st.answer("")
	st.finish(io.EOF)
}

// finish makes writing fail, and reading once the queue is empty.
func (st *stream) finish(err error) {
	st.link.Sever()
	st.Finish(err)
}

// LocalAddr returns the address of the session.
func (st *stream) LocalAddr() net.Addr { return st.s.conn.LocalAddr() }

// RemoteAddr returns the address of the session.
func (st *stream) RemoteAddr() net.Addr { return st.s.conn.RemoteAddr() }

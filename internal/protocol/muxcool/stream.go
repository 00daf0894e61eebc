package muxcool

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/muxio"
	"heki/internal/protocol/wire"
)

// keepHeader is the length in bytes of Keep with data and without an address.
const keepHeader = fixed + 2

var (
	_ net.Conn         = (*stream)(nil)
	_ N.ExtendedWriter = (*stream)(nil)
	_ N.ReadWaiter     = (*stream)(nil)
)

// link is the place of a session on a connection.
type link struct {
	muxio.Link
	s  *server
	id uint16
}

func newLink(s *server, id uint16) *link {
	l := &link{s: s, id: id}
	l.Init(s.out)
	return l
}

// stream is a TCP stream of the client.
type stream struct {
	muxio.Deadlines
	muxio.Inbox
	s      *server
	link   *link
	failed atomic.Bool // Close says so to the client
}

func newStream(s *server, id uint16) *stream {
	st := &stream{s: s, link: newLink(s, id)}
	st.Init(&s.queued, &st.Reading)
	return st
}

// deliver implements session. It waits while the queue is full, up to muxio.StallTimeout.
func (st *stream) deliver(f *Frame, body *wire.Body) error {
	if f.Length == 0 {
		return nil
	}
	b, err := st.Reserve(f.Length, st.s.ctx.Done())
	if err != nil {
		if errors.Is(err, muxio.ErrStalled) { // its reader holds up the others
			st.failed.Store(true)
			_ = st.Close()
		}
		return nil
	}
	if err := body.ReadFull(b.Extend(f.Length)); err != nil {
		b.Release()
		return err
	}
	st.Put(b)
	return nil
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
	err := st.link.Send(frame, &st.Writing)
	if err != nil && errors.Is(err, io.ErrClosedPipe) && st.IsShut() {
		return net.ErrClosed
	}
	return err
}

// FrontHeadroom is what WriteBuffer puts before a chunk.
func (st *stream) FrontHeadroom() int { return keepHeader }

// HandshakeFailure makes Close tell the client that the stream ended badly. It implements
// N.HandshakeFailure.
func (st *stream) HandshakeFailure(error) error {
	st.failed.Store(true)
	return nil
}

// Close ends the stream both ways, without waiting for the client.
func (st *stream) Close() error {
	if !st.Shut() {
		return nil
	}
	st.link.Sever()
	st.StopTimers()
	st.s.drop(st.link.id, st, st.failed.Load())
	return nil
}

// CloseWrite ends the stream for the client, who has no half-close and stops sending on End. What it
// sent before is still read, then io.EOF. Xray's server does the same: whoever waits for the end of a
// download must not wait for a timeout.
func (st *stream) CloseWrite() error {
	if st.IsShut() {
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

// finish makes writing fail, and reading once the queue is empty.
func (st *stream) finish(err error) {
	st.link.Sever()
	st.Finish(err)
}

// LocalAddr returns the address of the connection.
func (st *stream) LocalAddr() net.Addr { return st.s.conn.LocalAddr() }

// RemoteAddr returns the address of the connection.
func (st *stream) RemoteAddr() net.Addr { return st.s.conn.RemoteAddr() }

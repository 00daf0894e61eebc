package wire

import (
	"io"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"
)

// Body reads length-delimited payloads from a Source and stays in step with the frames: a payload
// that a read deadline cut in the middle is lost, but the frame after it is found. The zero value
// plus a Source is ready. It is for one goroutine at a time.
type Body struct {
	Source Source
	left   int // bytes of the payload that were not read yet
}

// Resync drops what is left of the last payload. Call it before looking at the next frame.
func (b *Body) Resync() error {
	for b.left > 0 {
		n, err := b.Source.Discard(b.left)
		b.left -= n
		if err != nil {
			return midFrame(err)
		}
	}
	return nil
}

// Begin consumes a header of n bytes, after which length bytes of payload follow. It waits until the
// first part of the payload is there, so that a buffer taken next does not idle.
func (b *Body) Begin(n, length int) error {
	if length > 0 && n < MaxPeek {
		if _, err := PeekFrame(b.Source, n, n+min(length, MaxPeek-n)); err != nil {
			return err
		}
	}
	if _, err := b.Source.Discard(n); err != nil {
		return midFrame(err)
	}
	b.left = length
	return nil
}

// Left returns how many bytes of the payload were not read yet.
func (b *Body) Left() int { return b.left }

// ReadFull fills p, which is at most Left bytes long, from the payload.
func (b *Body) ReadFull(p []byte) error {
	n, err := io.ReadFull(b.Source, p)
	b.left -= n
	if err != nil {
		return midFrame(err)
	}
	return nil
}

// ReadTo appends the whole payload to buffer. It reports false, and drops the payload, when there is
// no room: a datagram too large for its reader is lost, as on a socket, and the session lives on.
func (b *Body) ReadTo(buffer *buf.Buffer) (bool, error) {
	if buffer.FreeLen() < b.left {
		return false, b.Resync()
	}
	start := buffer.Len()
	if err := b.ReadFull(buffer.Extend(b.left)); err != nil {
		buffer.Truncate(start)
		return false, err
	}
	return true, nil
}

// ReadBuffer returns the whole payload in a buffer of its own with the room that o asks for.
func (b *Body) ReadBuffer(o N.ReadWaitOptions) (*buf.Buffer, error) {
	buffer := NewBuffer(b.left, o)
	if err := b.ReadFull(buffer.Extend(b.left)); err != nil {
		buffer.Release()
		return nil, err
	}
	return buffer, nil
}

// NewBuffer returns an empty buffer with room for n bytes plus the head- and rear room of o.
func NewBuffer(n int, o N.ReadWaitOptions) *buf.Buffer {
	buffer := buf.NewSize(o.FrontHeadroom + n + o.RearHeadroom)
	buffer.Resize(o.FrontHeadroom, 0)
	return buffer
}

// midFrame turns the end of the stream inside a frame into an error.
func midFrame(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

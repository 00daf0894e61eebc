// Package wire holds what the stream codecs share: how they look ahead, the two errors that every
// header parser answers with, and the one way to write a buffer.
package wire

import (
	"errors"
	"io"
	"net"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"
)

var (
	// ErrShort says that the bytes so far are the start of something valid: read more, parse again.
	ErrShort = errors.New("incomplete")
	// ErrBadRequest is wrapped by every final error of a header parser.
	ErrBadRequest = errors.New("bad request")
)

// MaxPeek is the most that a codec asks of Peek, in bytes.
const MaxPeek = 1 << 10

// Source is a stream that can look ahead. *bufio.Reader (of at least MaxPeek bytes) and netio.Conn
// are Sources. Codecs wait in Peek only, so a Source that holds a buffer only while it has unread
// bytes costs nothing while idle.
type Source interface {
	io.Reader
	// Peek returns at least n unread bytes without consuming them, n up to MaxPeek. With less it
	// returns an error. The bytes are valid until the next call.
	Peek(n int) ([]byte, error)
	// Discard drops n unread bytes, reading as needed.
	Discard(n int) (int, error)
}

// Conn is a connection that can look ahead.
type Conn interface {
	net.Conn
	Peek(n int) ([]byte, error)
	Discard(n int) (int, error)
}

// PeekFrame is Peek(n) in the middle of a frame, of which have bytes were seen already: the end of
// the stream is io.ErrUnexpectedEOF unless nothing of the frame has arrived.
func PeekFrame(s Source, have, n int) ([]byte, error) {
	b, err := s.Peek(n)
	if len(b) >= n {
		return b, nil
	}
	if err == io.EOF && (have > 0 || len(b) > 0) {
		return nil, io.ErrUnexpectedEOF
	}
	if err == nil { // not a Source by its contract; never loop on it
		err = io.ErrNoProgress
	}
	return nil, err
}

// WriteBuffer writes b to w in one call and releases it, on error too. It hands b itself over when
// w takes buffers and front, the headroom that w asked for when it was made, is there.
func WriteBuffer(w io.Writer, b *buf.Buffer, front int) error {
	if ew, ok := w.(N.ExtendedWriter); ok && b.Start() >= front {
		return ew.WriteBuffer(b)
	}
	_, err := w.Write(b.Bytes())
	b.Release()
	return err
}

// Headroom returns a buffer with the bytes of b and n bytes of room in front, which is b itself when
// it has them. It owns b.
func Headroom(b *buf.Buffer, n int) *buf.Buffer {
	return Room(b, n, 0)
}

// Room is Headroom for both ends: n bytes in front and rear bytes behind.
func Room(b *buf.Buffer, n, rear int) *buf.Buffer {
	if b.Start() >= n && b.FreeLen() >= rear {
		return b
	}
	c := buf.NewSize(n + b.Len() + rear)
	c.Resize(n, 0)
	_, _ = c.Write(b.Bytes()) // fits by construction
	b.Release()
	return c
}

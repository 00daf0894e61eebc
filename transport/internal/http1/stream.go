package http1

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/netio"
)

// Stream carries raw bytes behind one head each way: ours goes out in one write with the first bytes,
// the peer's is taken off before its first bytes. Then it is replaceable, and costs nothing.
type Stream struct {
	*netio.Conn
	expect func(*Response) error // nil once the peer's head was read

	mu   sync.Mutex // writing head
	head []byte
	sent atomic.Bool
}

var (
	_ N.ReadWaiter     = (*Stream)(nil)
	_ N.ExtendedWriter = (*Stream)(nil)
)

// NewStream puts head before what is written to c. expect judges the head of the peer's answer; nil
// expects none.
func NewStream(c *netio.Conn, head []byte, expect func(*Response) error) *Stream {
	return &Stream{Conn: c, head: head, expect: expect}
}

// await takes the peer's head off.
func (s *Stream) await() error {
	if s.expect == nil {
		return nil
	}
	r, n, err := ReadResponse(s.Conn)
	if err == nil {
		err = s.expect(&r)
	}
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	s.expect = nil
	_, err = s.Discard(n)
	return err
}

// Read implements io.Reader.
func (s *Stream) Read(p []byte) (int, error) {
	if err := s.await(); err != nil {
		return 0, err
	}
	return s.Conn.Read(p)
}

// WaitReadBuffer implements N.ReadWaiter.
func (s *Stream) WaitReadBuffer() (*buf.Buffer, error) {
	if err := s.await(); err != nil {
		return nil, err
	}
	return s.Conn.WaitReadBuffer()
}

// ReadCached implements N.CachedReader.
func (s *Stream) ReadCached() *buf.Buffer {
	if s.expect != nil {
		return nil
	}
	return s.Conn.ReadCached()
}

// Write implements io.Writer.
func (s *Stream) Write(p []byte) (int, error) {
	if s.sent.Load() {
		return s.Conn.Write(p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent.Load() {
		return s.Conn.Write(p)
	}
	s.sent.Store(true)
	whole := append(s.head, p...)
	n, err := s.Conn.Write(whole)
	n = max(0, n-len(s.head))
	s.head = nil
	return n, err
}

// WriteBuffer implements N.ExtendedWriter. b is released.
func (s *Stream) WriteBuffer(b *buf.Buffer) error {
	defer b.Release()
	_, err := s.Write(b.Bytes())
	return err
}

// CloseWrite sends the head, if nothing was written, and ends the writing side.
func (s *Stream) CloseWrite() error {
	if !s.sent.Load() {
		if _, err := s.Write(nil); err != nil {
			return err
		}
	}
	return netio.CloseWrite(s.Conn.Conn)
}

// ReaderReplaceable says whether reads may go to the inner connection.
func (s *Stream) ReaderReplaceable() bool { return s.expect == nil && s.Conn.ReaderReplaceable() }

// WriterReplaceable says whether writes may go to the inner connection.
func (s *Stream) WriterReplaceable() bool { return s.sent.Load() }

// Package chunk reads streams that are encrypted chunk by chunk: a length field, then so many bytes.
package chunk

import (
	"io"

	"github.com/sagernet/sing/common/buf"

	"heki/internal/protocol/wire"
)

// Opener decrypts the chunks of one direction, each once and in order.
type Opener interface {
	// Size is the length of a length field in bytes, at most wire.MaxPeek.
	Size() int
	// Length decodes the length field of the next chunk: how many bytes follow it, 1 to 65535+16.
	Length(field []byte) (int, error)
	// Open decrypts a chunk to dst, which has its length and is apart from it or begins where it does,
	// and returns the payload, which may be empty. An error, io.EOF for one, ends the stream.
	Open(dst, chunk []byte) ([]byte, error)
}

// Sizes in bytes of what a reader asks of its source.
const (
	// deepPeek is what sources that show what they hold can look ahead, netio.Conn being one.
	deepPeek = 32 << 10
	// batch is the least room of a buffer that several chunks may share.
	batch = 32 << 10
)

// Reader decrypts one direction. It keeps what it knows of a chunk across errors, so that a read
// deadline that cuts a chunk costs nothing. It holds a buffer only while there are bytes in it. It is
// for one goroutine at a time.
type Reader struct {
	opener   Opener
	source   wire.Source
	buffered func() []byte // what source holds; nil when it does not tell
	pool     wire.Pool

	sized bool        // total is of the chunk that comes next
	total int         // bytes
	large *buf.Buffer // a chunk too long to look at, on its way in
	rest  *buf.Buffer // payload for the next Read
	err   error       // final
}

// Init makes r read from source.
func (r *Reader) Init(source wire.Source, o Opener, pool wire.Pool) {
	r.opener, r.source, r.pool = o, source, pool
	if s, ok := source.(interface{ Buffered() []byte }); ok {
		r.buffered = s.Buffered
	}
}

// Expect says that the next chunk has total bytes and no length field before it.
func (r *Reader) Expect(total int) { r.sized, r.total = true, total }

// deep is how far the source can look ahead.
func (r *Reader) deep() int {
	if r.buffered != nil {
		return deepPeek
	}
	return wire.MaxPeek
}

// Wait returns a buffer with payload, the caller's, once there is some; chunks that came together may
// be in one. None is held before. At the end of the stream the error is io.EOF.
func (r *Reader) Wait() (*buf.Buffer, error) {
	if b := r.rest; b != nil {
		r.rest = nil
		return b, nil
	}
	for {
		b, err := r.next()
		if err != nil {
			return nil, err
		}
		r.more(b)
		if !b.IsEmpty() {
			return wire.Filled(b), nil
		}
		wire.Give(r.pool, b)
	}
}

// WaitChunk is Wait for one chunk alone, which may be empty.
func (r *Reader) WaitChunk() (*buf.Buffer, error) {
	b, err := r.next()
	if err != nil {
		return nil, err
	}
	return wire.Filled(b), nil
}

// Unread makes b, the caller's no more, what the next read returns. It is for the rest of what Wait or
// WaitChunk returned last.
func (r *Reader) Unread(b *buf.Buffer) {
	if b.IsEmpty() {
		wire.Give(r.pool, b)
		return
	}
	r.rest = b
}

// next reads one chunk.
func (r *Reader) next() (*buf.Buffer, error) {
	if r.err != nil {
		return nil, r.err
	}
	if err := r.head(); err != nil {
		return nil, err
	}
	if r.total > r.deep() {
		return r.nextLarge()
	}
	chunk, err := wire.PeekFrame(r.source, 1, r.total)
	if err != nil {
		return nil, err
	}
	b := r.pool.Get(max(r.total, r.shared()))
	if err := r.take(b, chunk); err != nil {
		wire.Give(r.pool, b)
		return nil, err
	}
	return b, nil
}

// shared is the room for chunks after the first.
func (r *Reader) shared() int {
	if r.buffered == nil || len(r.buffered()) <= r.total {
		return 0
	}
	return batch
}

// head reads the length of the next chunk.
func (r *Reader) head() error {
	if r.sized {
		return nil
	}
	size := r.opener.Size()
	field, err := wire.PeekFrame(r.source, 0, size)
	if err != nil {
		return err
	}
	if r.total, err = r.opener.Length(field[:size]); err != nil {
		return r.fail(err)
	}
	r.sized = true
	if _, err = r.source.Discard(size); err != nil {
		return r.fail(err)
	}
	return nil
}

// take decrypts the chunk that starts chunk to the end of b and consumes it.
func (r *Reader) take(b *buf.Buffer, chunk []byte) error {
	plain, err := r.opener.Open(b.FreeBytes()[:r.total], chunk[:r.total])
	if err != nil {
		return r.fail(err)
	}
	if _, err := r.source.Discard(r.total); err != nil {
		return r.fail(err)
	}
	r.sized = false
	b.Extend(len(plain))
	return nil
}

// more adds the chunks that are there already, as far as b has room. An error is for the next call.
func (r *Reader) more(b *buf.Buffer) {
	for r.err == nil && r.buffered != nil {
		if !r.sized && len(r.buffered()) < r.opener.Size() {
			return
		}
		if r.head() != nil || len(r.buffered()) < r.total || b.FreeLen() < r.total {
			return
		}
		_ = r.take(b, r.buffered())
	}
}

// nextLarge is for chunks that the source cannot show whole.
func (r *Reader) nextLarge() (*buf.Buffer, error) {
	if r.large == nil {
		if _, err := wire.PeekFrame(r.source, 1, 1); err != nil {
			return nil, err
		}
		r.large = r.pool.Get(r.total)
	}
	for r.large.Len() < r.total {
		n, err := r.source.Read(r.large.FreeBytes()[:r.total-r.large.Len()])
		r.large.Extend(n)
		switch {
		case err == io.EOF && r.large.Len() < r.total:
			return nil, r.fail(io.ErrUnexpectedEOF)
		case err != nil && err != io.EOF:
			return nil, err // maybe a deadline: the rest may still come
		}
	}
	b := r.large
	r.large, r.sized = nil, false
	plain, err := r.opener.Open(b.Bytes(), b.Bytes())
	if err != nil {
		wire.Give(r.pool, b)
		return nil, r.fail(err)
	}
	b.Truncate(len(plain))
	return b, nil
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := r.Wait()
	if err != nil {
		return 0, err
	}
	n, _ := b.Read(p)
	r.Unread(b)
	return n, nil
}

// Drop gives up what is held. No reads may follow.
func (r *Reader) Drop() {
	for _, b := range []*buf.Buffer{r.rest, r.large} {
		if b != nil {
			wire.Give(r.pool, b)
		}
	}
	r.rest, r.large = nil, nil
}

func (r *Reader) fail(err error) error {
	r.err = err
	return err
}

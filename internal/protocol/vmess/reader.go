package vmess

import (
	"io"

	"github.com/sagernet/sing/common/buf"

	"heki/internal/protocol/wire"
)

// Sizes in bytes of what a reader asks of its source.
const (
	// deepPeek is what sources that show what they hold can look ahead, netio.Conn being one.
	deepPeek = 32 << 10
	// batch is the least room of a buffer that several chunks may share.
	batch = 32 << 10
)

// reader decrypts one direction. It keeps what it knows of a chunk across errors, so that a read
// deadline that cuts a chunk costs nothing.
type reader struct {
	body
	source   wire.Source
	buffered func() []byte // what source holds; nil when it does not tell
	pool     wire.Pool
	prologue func() error // reads what precedes the body; nil once that is done
	packets  bool         // a chunk is a packet: never put two together

	begun      bool // a chunk has come
	sized      bool // total and pad are of the chunk that comes next
	total, pad int
	large      *buf.Buffer // a chunk too long to look at, on its way in
	rest       *buf.Buffer // payload for the next Read
	err        error       // final
}

func (r *reader) init(source wire.Source, b body, pool wire.Pool) {
	r.body, r.source, r.pool = b, source, pool
	if s, ok := source.(interface{ Buffered() []byte }); ok {
		r.buffered = s.Buffered
	}
}

// deep is how far the source can look ahead.
func (r *reader) deep() int {
	if r.buffered != nil {
		return deepPeek
	}
	return wire.MaxPeek
}

// wait returns a buffer with payload, the caller's, once there is some. None is held before. At the
// end of the stream, marked by an empty chunk or not, the error is io.EOF.
func (r *reader) wait() (*buf.Buffer, error) {
	if b := r.rest; b != nil {
		r.rest = nil
		return b, nil
	}
	if r.err != nil {
		return nil, r.err
	}
	if r.prologue != nil {
		if err := r.prologue(); err != nil {
			return nil, err
		}
		r.prologue = nil
	}
	if !r.chunked {
		return r.waitPlain()
	}
	if err := r.head(); err != nil {
		return nil, err
	}
	if r.total > r.deep() {
		return r.waitLarge()
	}
	chunk, err := wire.PeekFrame(r.source, 1, r.total)
	if err != nil {
		return nil, err
	}
	first := !r.begun
	b := r.pool.Get(max(r.total, r.shared()))
	if err := r.take(b, chunk); err != nil {
		wire.Give(r.pool, b)
		return nil, err
	}
	r.more(b)
	if first && b.IsEmpty() {
		wire.Give(r.pool, b)
		return r.wait()
	}
	return wire.Filled(b), nil
}

// shared is the room for chunks after the first.
func (r *reader) shared() int {
	if r.buffered == nil || r.packets {
		return 0
	}
	return batch
}

// head reads the length of the next chunk.
func (r *reader) head() error {
	if r.sized {
		return nil
	}
	field, err := wire.PeekFrame(r.source, 0, r.size())
	if err != nil {
		return err
	}
	r.total, r.pad, err = r.length(field[:r.size()])
	if err != nil {
		return r.fail(err)
	}
	r.sized = true
	_, err = r.source.Discard(r.size())
	return err
}

// take decrypts the chunk that starts chunk into b and consumes it. The empty chunk is io.EOF, but for
// the very first: Xray's client sends one when its user says nothing for 100 ms, as where the server
// speaks first, and goes on after it.
func (r *reader) take(b *buf.Buffer, chunk []byte) error {
	plain, err := r.open(b.FreeBytes(), chunk[:r.total], r.pad)
	if err != nil {
		return r.fail(err)
	}
	if _, err := r.source.Discard(r.total); err != nil {
		return r.fail(err)
	}
	r.sized = false
	first := !r.begun
	r.begun = true
	if len(plain) == 0 && !first {
		return r.fail(io.EOF)
	}
	b.Extend(len(plain))
	return nil
}

// more adds the chunks that are there already, as far as b has room. An error is for the next call.
func (r *reader) more(b *buf.Buffer) {
	if r.shared() == 0 {
		return
	}
	for r.err == nil {
		if !r.sized && len(r.buffered()) < r.size() {
			return
		}
		if r.head() != nil || len(r.buffered()) < r.total || b.FreeLen() < r.total {
			return
		}
		_ = r.take(b, r.buffered())
	}
}

// waitLarge is for chunks that the source cannot show whole.
func (r *reader) waitLarge() (*buf.Buffer, error) {
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
	r.large, r.sized, r.begun = nil, false, true
	plain, err := r.open(b.Bytes(), b.Bytes(), r.pad)
	if err == nil && len(plain) == 0 {
		err = io.EOF
	}
	if err != nil {
		wire.Give(r.pool, b)
		return nil, r.fail(err)
	}
	b.Truncate(len(plain))
	return wire.Filled(b), nil
}

// waitPlain is for streams without chunks.
func (r *reader) waitPlain() (*buf.Buffer, error) {
	in, err := wire.PeekFrame(r.source, 0, 1)
	if err != nil {
		return nil, err
	}
	b := r.pool.Get(min(len(in), batch))
	n := min(len(in), b.FreeLen())
	if r.cfb != nil {
		r.cfb.Decrypt(b.Extend(n), in[:n])
	} else {
		copy(b.Extend(n), in)
	}
	if _, err := r.source.Discard(n); err != nil {
		wire.Give(r.pool, b)
		return nil, r.fail(err)
	}
	return wire.Filled(b), nil
}

// read implements io.Reader on top of wait.
func (r *reader) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := r.wait()
	if err != nil {
		return 0, err
	}
	n, _ := b.Read(p)
	if b.IsEmpty() {
		wire.Give(r.pool, b)
	} else {
		r.rest = b
	}
	return n, nil
}

// replaceable says that the source's bytes are the payload from here on.
func (r *reader) replaceable() bool {
	return r.raw() && r.prologue == nil && r.rest == nil && r.err == nil
}

// drop gives up what is held. No reads may follow.
func (r *reader) drop() {
	for _, b := range []*buf.Buffer{r.rest, r.large} {
		if b != nil {
			wire.Give(r.pool, b)
		}
	}
	r.rest, r.large = nil, nil
}

func (r *reader) fail(err error) error {
	r.err = err
	return err
}

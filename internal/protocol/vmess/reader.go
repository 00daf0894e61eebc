package vmess

import (
	"io"

	"github.com/sagernet/sing/common/buf"

	"heki/internal/protocol/chunk"
	"heki/internal/protocol/wire"
)

// plainMost is the most that a read of a stream without chunks takes in bytes.
const plainMost = 32 << 10

// reader decrypts one direction. A read deadline that cuts a chunk costs nothing.
type reader struct {
	body
	chunks   chunk.Reader
	source   wire.Source
	pool     wire.Pool
	prologue func() error // reads what precedes the body; nil once that is done
	packets  bool         // a chunk is a packet: never put two together

	begun bool        // a chunk has come
	tail  int         // padding of the chunk that comes next, in bytes
	rest  *buf.Buffer // payload for the next Read
	err   error       // final, but of chunks
}

func (r *reader) init(source wire.Source, b body, pool wire.Pool) {
	r.body, r.source, r.pool = b, source, pool
	r.chunks.Init(source, opener{r}, pool)
}

// opener is the body of a reader as chunk.Reader asks for it.
type opener struct{ r *reader }

// Size implements chunk.Opener.
func (o opener) Size() int { return o.r.size() }

// Length implements chunk.Opener.
func (o opener) Length(field []byte) (total int, err error) {
	total, o.r.tail, err = o.r.length(field)
	return total, err
}

// Open implements chunk.Opener. The empty chunk is io.EOF, but for the very first: Xray's client sends one
// when its user says nothing for 100 ms, as where the server speaks first, and goes on after it.
func (o opener) Open(dst, src []byte) ([]byte, error) {
	plain, err := o.r.open(dst, src, o.r.tail)
	if err != nil {
		return nil, err
	}
	first := !o.r.begun
	o.r.begun = true
	if len(plain) == 0 && !first {
		return nil, io.EOF
	}
	return plain, nil
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
	switch {
	case !r.chunked:
		return r.waitPlain()
	case r.packets:
		return r.waitPacket()
	}
	return r.chunks.Wait()
}

// waitPacket returns one chunk.
func (r *reader) waitPacket() (*buf.Buffer, error) {
	for {
		b, err := r.chunks.WaitChunk()
		if err != nil || !b.IsEmpty() {
			return b, err
		}
		wire.Give(r.pool, b)
	}
}

// waitPlain is for streams without chunks.
func (r *reader) waitPlain() (*buf.Buffer, error) {
	in, err := wire.PeekFrame(r.source, 0, 1)
	if err != nil {
		return nil, err
	}
	b := r.pool.Get(min(len(in), plainMost))
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
	if r.rest != nil {
		wire.Give(r.pool, r.rest)
		r.rest = nil
	}
	r.chunks.Drop()
}

func (r *reader) fail(err error) error {
	r.err = err
	return err
}

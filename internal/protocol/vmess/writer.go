package vmess

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/sagernet/sing/common/buf"

	"heki/internal/protocol/wire"
)

// burst is the most payload in bytes that goes out in one write.
const burst = 32 << 10

// writer encrypts one direction.
type writer struct {
	inner io.Writer
	front int // headroom of inner
	pool  wire.Pool

	started atomic.Bool // the header is out

	mu   sync.Mutex // held across the write: chunks have an order
	body            // guarded by mu
	head func([]byte) []byte
	most int // the most that head appends
	done bool
}

// write sends p in bursts.
func (w *writer) write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sendLocked(p)
}

// writeBuffer sends b, which it owns: in place when that is one chunk and b has the room.
func (w *writer) writeBuffer(b *buf.Buffer) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		b.Release()
		return io.ErrClosedPipe
	}
	if w.raw() && w.head == nil {
		return wire.WriteBuffer(w.inner, b, w.front)
	}
	lead := w.size() + w.body.front
	fits := w.chunked && !b.IsEmpty() && b.Len() <= maxChunk &&
		b.Start() >= w.front+w.most+lead && b.FreeLen() >= w.rear+maxChunkPadding
	if !fits {
		_, err := w.sendLocked(b.Bytes())
		b.Release()
		return err
	}
	var head []byte
	if w.head != nil {
		head = w.head(nil) // before the chunk: both may be of one CFB stream
	}
	payload := b.Bytes()
	pad := w.padding()
	b.ExtendHeader(lead)
	b.Extend(w.rear + pad)
	w.seal(b.Bytes(), payload, pad)
	copy(b.ExtendHeader(len(head)), head)
	err := wire.WriteBuffer(w.inner, b, w.front)
	w.begunLocked()
	return err
}

// sendLocked sends p, the first part after the header unless that is out, and returns how much went.
func (w *writer) sendLocked(p []byte) (int, error) {
	if w.done {
		return 0, io.ErrClosedPipe
	}
	sent := 0
	for len(p) > 0 || w.head != nil {
		n := min(len(p), burst)
		if err := w.burstLocked(p[:n], w.chunks(n)); err != nil {
			return sent, err
		}
		sent += n
		p = p[n:]
	}
	return sent, nil
}

// burstLocked sends the header, unless it is out, and p in so many chunks, all in one write.
func (w *writer) burstLocked(p []byte, chunks int) error {
	if w.raw() && w.head == nil {
		_, err := w.inner.Write(p)
		return err
	}
	b := w.pool.Get(w.front + w.most + len(p) + chunks*(w.size()+w.overhead()+maxChunkPadding))
	if b.Start() < w.front {
		b.Resize(w.front, 0)
	}
	out := wire.Filled(b)
	if w.head != nil {
		out.Extend(len(w.head(out.FreeBytes()[:0])))
	}
	w.fill(out, p, chunks)
	err := wire.WriteBuffer(w.inner, out, w.front)
	w.pool.Put(b)
	w.begunLocked()
	return err
}

// chunks is how many chunks n bytes become: as few as clients can read, and of equal length.
func (w *writer) chunks(n int) int {
	if !w.chunked {
		return 0
	}
	return (n + maxChunk - 1) / maxChunk
}

// fill encrypts p in so many chunks to the end of b.
func (w *writer) fill(b *buf.Buffer, p []byte, chunks int) {
	if !w.chunked {
		dst := b.Extend(len(p))
		if w.cfb != nil {
			w.cfb.Encrypt(dst, p)
		} else {
			copy(dst, p)
		}
		return
	}
	for ; chunks > 0; chunks-- {
		n := (len(p) + chunks - 1) / chunks
		b.Extend(w.seal(b.FreeBytes(), p[:n], w.padding()))
		p = p[n:]
	}
}

// begunLocked notes that the header went out. On an error too: the stream is broken then, and a second
// header mends nothing.
func (w *writer) begunLocked() {
	if w.head != nil {
		w.head, w.most = nil, 0
		w.started.Store(true)
	}
}

// packet sends b, which it owns, as one chunk, however long. It is not empty.
func (w *writer) packet(b *buf.Buffer) error {
	if b.Len() <= maxChunk {
		return w.writeBuffer(b)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	defer b.Release()
	if w.done {
		return io.ErrClosedPipe
	}
	return w.burstLocked(b.Bytes(), 1)
}

// finish sends the empty chunk that ends a chunked stream, after the header when nothing was written
// yet. No writes may follow.
func (w *writer) finish() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return nil
	}
	defer func() { w.done = true }()
	if w.chunked {
		return w.burstLocked(nil, 1)
	}
	_, err := w.sendLocked(nil)
	return err
}

package shadowsocks

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/sagernet/sing/common/buf"

	"heki/internal/protocol/wire"
)

// burst is the most payload in bytes that goes out in one write.
const burst = 32 << 10

// Preface is what a direction begins with, up to the payload of the first chunk: a salt and a length.
type Preface struct {
	Most int // bytes that Append adds at most
	// Append adds it to b for a first chunk of n bytes. It is called once, before anything is sealed.
	Append func(b []byte, h *Half, n int) []byte
}

// SaltPreface is a salt and a sealed length.
func SaltPreface(salt []byte) Preface {
	return Preface{Most: len(salt) + sealedLength, Append: func(b []byte, h *Half, n int) []byte {
		b = append(b, salt...)
		at := len(b)
		b = append(b, make([]byte, sealedLength)...)
		h.lead(b[at:], n)
		return b
	}}
}

// writer encrypts one direction.
type writer struct {
	inner io.Writer
	front int // headroom of inner
	pool  wire.Pool

	started atomic.Bool // the preface is out

	mu      sync.Mutex // held across the write: chunks have an order
	half    Half
	preface Preface // nothing once it is out
	done    bool
}

// most is what precedes the payload of the next chunk at most.
func (w *writer) most() int {
	if w.preface.Append != nil {
		return w.preface.Most
	}
	return sealedLength
}

// write sends p in bursts.
func (w *writer) write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := 0
	for len(p) > 0 {
		if w.done {
			return sent, io.ErrClosedPipe
		}
		n := min(len(p), burst)
		if err := w.burstLocked(p[:n]); err != nil {
			return sent, err
		}
		sent += n
		p = p[n:]
	}
	return sent, nil
}

// writeBuffer sends b, which it owns: in place when that is one chunk and b has the room.
func (w *writer) writeBuffer(b *buf.Buffer) error {
	if b.IsEmpty() {
		b.Release()
		return nil
	}
	if b.Len() > w.half.most { // never changes
		_, err := w.write(b.Bytes())
		b.Release()
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		b.Release()
		return io.ErrClosedPipe
	}
	if b.Start() < w.front+w.most() || b.FreeLen() < TagSize {
		err := w.burstLocked(b.Bytes())
		b.Release()
		return err
	}
	payload := b.Bytes()
	if w.preface.Append == nil {
		w.half.lead(b.ExtendHeader(sealedLength), len(payload))
	} else {
		head := w.preface.Append(make([]byte, 0, w.preface.Most), &w.half, len(payload))
		copy(b.ExtendHeader(len(head)), head)
		w.begunLocked()
	}
	w.half.Seal(payload[:0], payload)
	b.Extend(TagSize)
	return wire.WriteBuffer(w.inner, b, w.front)
}

// burstLocked sends p, not empty, in as few chunks as may be, all in one write.
func (w *writer) burstLocked(p []byte) error {
	chunks := (len(p) + w.half.most - 1) / w.half.most
	b := w.pool.Get(w.front + w.most() + len(p) + chunks*(sealedLength+TagSize))
	if b.Start() < w.front {
		b.Resize(w.front, 0)
	}
	out := wire.Filled(b)
	for ; chunks > 0; chunks-- {
		n := (len(p) + chunks - 1) / chunks // of equal length
		if w.preface.Append == nil {
			w.half.lead(out.Extend(sealedLength), n)
		} else {
			out.Extend(len(w.preface.Append(out.FreeBytes()[:0], &w.half, n)))
			w.begunLocked()
		}
		w.half.Seal(out.Extend(n + TagSize)[:0], p[:n])
		p = p[n:]
	}
	err := wire.WriteBuffer(w.inner, out, w.front)
	w.pool.Put(b)
	return err
}

// begunLocked notes that the preface goes out now.
func (w *writer) begunLocked() {
	w.preface = Preface{}
	w.started.Store(true)
}

// finish ends writing.
func (w *writer) finish() {
	w.mu.Lock()
	w.done = true
	w.mu.Unlock()
}

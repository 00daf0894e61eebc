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
	// Lead is what comes before the payload in the first chunk, which has payload bytes of it; nil is
	// nothing. With one the preface goes out without payload too, in a write of nothing or at the end.
	Lead func(payload int) []byte
	// Append adds it to b for a first chunk of n bytes, its Lead included. It is called once, before
	// anything is sealed.
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
	return w.sendLocked(p)
}

func (w *writer) sendLocked(p []byte) (int, error) {
	sent := 0
	for len(p) > 0 || w.preface.Lead != nil {
		if w.done {
			return sent, io.ErrClosedPipe
		}
		n, err := min(len(p), burst), error(nil)
		if w.preface.Lead != nil {
			n, err = w.leadLocked(p[:n])
		} else {
			err = w.burstLocked(p[:n])
		}
		if err != nil {
			return sent, err
		}
		sent += n
		p = p[n:]
	}
	return sent, nil
}

// writeBuffer sends b, which it owns: in place when that is one chunk and b has the room.
func (w *writer) writeBuffer(b *buf.Buffer) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	fits := !b.IsEmpty() && b.Len() <= w.half.most && w.preface.Lead == nil &&
		b.Start() >= w.front+w.most() && b.FreeLen() >= TagSize
	if !fits || w.done {
		_, err := w.sendLocked(b.Bytes())
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

// leadLocked sends the preface and as much of p as the first chunk has room for, which it returns.
func (w *writer) leadLocked(p []byte) (int, error) {
	lead := w.preface.Lead(len(p))
	n := min(len(p), w.half.most-len(lead))
	size := len(lead) + n
	b := w.pool.Get(w.front + w.preface.Most + size + TagSize)
	if b.Start() < w.front {
		b.Resize(w.front, 0)
	}
	out := wire.Filled(b)
	out.Extend(len(w.preface.Append(out.FreeBytes()[:0], &w.half, size)))
	w.begunLocked()
	chunk := out.Extend(size + TagSize)
	copy(chunk[copy(chunk, lead):], p[:n])
	w.half.Seal(chunk[:0], chunk[:size])
	err := wire.WriteBuffer(w.inner, out, w.front)
	w.pool.Put(b)
	return n, err
}

// begunLocked notes that the preface goes out now.
func (w *writer) begunLocked() {
	w.preface = Preface{}
	w.started.Store(true)
}

// finish ends writing, after the preface where that has a Lead.
func (w *writer) finish() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return nil
	}
	_, err := w.sendLocked(nil)
	w.done = true
	return err
}

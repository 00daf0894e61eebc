package ssr

import (
	"io"
	"sync"

	"heki/internal/protocol/ssr/cipher"
	"heki/internal/protocol/ssr/obfs"
	"heki/internal/protocol/ssr/protocol"
	"heki/internal/protocol/wire"
)

const (
	// segment is the most that goes through cipher and obfs as one piece: a record of TLS holds it,
	// with all that is added, and two frames of auth_aes128.
	segment = 16250
	// burst is a buffer of what goes out in one write: three segments.
	burst = 50 << 10
)

// writer takes one direction through the layers.
type writer struct {
	inner io.Writer
	port  *Port
	pool  wire.Pool

	mu      sync.Mutex // held across the write: frames have an order
	obfs    obfs.Codec
	encoder protocol.Encoder
	random  io.Reader
	begun   bool // the IV is out
	stream  cipher.Stream
	records *cipher.Records
}

// ping sends an empty frame, where there is such a thing.
func (w *writer) ping() error {
	if !w.port.spec.Users {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.burstLocked(nil)
	return err
}

// write sends p.
func (w *writer) write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := 0
	for sent < len(p) {
		n, err := w.burstLocked(p[sent:])
		if err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// burstLocked sends as much of p as one write takes, or an empty frame, and returns how much that was.
func (w *writer) burstLocked(p []byte) (int, error) {
	b := w.pool.Get(burst)
	defer wire.Give(w.pool, b)
	out, done := b.FreeBytes()[:0], 0
	for {
		var n int
		out, n = w.segmentLocked(out, p[done:])
		done += n
		if done == len(p) || burst-len(out) < segment+cipher.MaxIV+cipher.RecordFront+cipher.RecordRear+w.obfs.Front() {
			break
		}
	}
	_, err := w.inner.Write(out)
	return done, err
}

// segmentLocked appends one segment of p, or an empty frame, and returns how much of p it has.
func (w *writer) segmentLocked(out, p []byte) ([]byte, int) {
	at := len(out)
	out = w.beginLocked(w.obfs.Open(out))
	record := len(out)
	if w.records != nil {
		out = out[:record+cipher.RecordFront]
	}
	start, done := len(out), 0
	for {
		n := w.fitLocked(len(p)-done, segment-(len(out)-start))
		if n == 0 && done > 0 {
			break
		}
		out = w.encoder.Append(out, p[done:done+n])
		if done += n; done == len(p) {
			break
		}
	}
	if w.records != nil {
		out = out[:len(out)+cipher.RecordRear]
		w.records.Seal(out[record:])
	} else {
		w.stream.XOR(out[start:], out[start:])
	}
	return w.obfs.Close(out, at), done
}

// fitLocked is how much of n bytes the next frame takes in so much room: 0 when it has to wait.
func (w *writer) fitLocked(n, room int) int {
	if k := w.encoder.Most(n); k+w.encoder.Extra(k) <= room {
		return k
	}
	if w.port.spec.Users {
		return 0
	}
	return w.encoder.Most(min(n, room)) // without frames any part will do
}

// beginLocked appends the IV before the first segment.
func (w *writer) beginLocked(out []byte) []byte {
	if w.begun {
		return out
	}
	w.begun = true
	m := &w.port.method
	at := len(out)
	out = out[:at+m.IVSize]
	_, _ = io.ReadFull(w.random, out[at:]) // never fails
	w.useLocked(out[at:])
	return out
}

// useLocked begins the cipher at iv.
func (w *writer) useLocked(iv []byte) {
	if w.port.method.AEAD {
		w.records = w.port.method.Records(w.port.key, iv)
		return
	}
	w.stream = w.port.method.Encrypter(w.port.key, iv)
}

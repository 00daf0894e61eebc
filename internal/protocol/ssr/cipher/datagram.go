package cipher

import (
	"errors"
	"io"
	"sync"
)

// ErrShort says that a datagram is too short to be one.
var ErrShort = errors.New("datagram too short")

// Datagrams en- and decrypts the datagrams of one key, each on its own. It is for any number of
// goroutines.
type Datagrams struct {
	method Method
	key    []byte
	enc    sync.Pool // of state
	dec    sync.Pool
}

// Datagrams returns the datagrams of key, which is kept.
func (m *Method) Datagrams(key []byte) *Datagrams {
	d := &Datagrams{method: *m, key: key}
	begin := m.datagram
	if begin == nil {
		begin = m.stream
	}
	d.enc.New = func() any { return begin(key, false) }
	d.dec.New = func() any { return begin(key, true) }
	return d
}

// Front is how many bytes a datagram adds before its payload.
func (d *Datagrams) Front() int { return d.method.IVSize }

// Rear is how many bytes a datagram adds behind its payload.
func (d *Datagrams) Rear() int {
	if d.method.AEAD {
		return tagSize
	}
	return 0
}

// Seal makes a datagram of b: Front bytes of room, payload, Rear bytes of room. random is where its
// IV comes from.
func (d *Datagrams) Seal(b []byte, random io.Reader) error {
	iv, payload := b[:d.method.IVSize], b[d.method.IVSize:]
	if _, err := io.ReadFull(random, iv); err != nil {
		return err
	}
	if d.method.AEAD {
		var nonce [nonceLen]byte
		d.method.sealer(d.key, iv).Seal(payload[:0], nonce[:], payload[:len(payload)-tagSize], nil)
		return nil
	}
	s, _ := d.enc.Get().(state) // New makes nothing else
	s.reset(iv)
	s.XOR(payload, payload)
	d.enc.Put(s)
	return nil
}

// Open decrypts the datagram b in place and returns its payload, a part of b.
func (d *Datagrams) Open(b []byte) ([]byte, error) {
	if len(b) < d.Front()+d.Rear() {
		return nil, ErrShort
	}
	iv, payload := b[:d.method.IVSize], b[d.method.IVSize:]
	if d.method.AEAD {
		var nonce [nonceLen]byte
		plain, err := d.method.sealer(d.key, iv).Open(payload[:0], nonce[:], payload, nil)
		if err != nil {
			return nil, ErrOpen
		}
		return plain, nil
	}
	s, _ := d.dec.Get().(state)
	s.reset(iv)
	s.XOR(payload, payload)
	d.dec.Put(s)
	return payload, nil
}

package cipher

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// Records of a stream (SIP004).
const (
	// MaxRecord is the most payload in bytes that a record carries.
	MaxRecord = 0x3fff
	// RecordFront and RecordRear are what a record adds around its payload.
	RecordFront = 2 + tagSize
	RecordRear  = tagSize
)

// ErrOpen says that a record or datagram is not authentic.
var ErrOpen = errors.New("not authentic")

type aeadMaker func(subkey []byte) (cipher.AEAD, error)

func newGCM(subkey []byte) (cipher.AEAD, error) { return cipher.NewGCM(newAES(subkey)) }

func newPoly1305(subkey []byte) (cipher.AEAD, error) { return chacha20poly1305.New(subkey) }

// sealer returns the AEAD of a salt.
func (m *Method) sealer(key, salt []byte) cipher.AEAD {
	subkey, err := hkdf.Key(sha1.New, key, salt, "ss-subkey", m.KeySize)
	if err == nil {
		var a cipher.AEAD
		if a, err = m.aead(subkey); err == nil {
			return a
		}
	}
	panic("ssr: " + err.Error()) // never: the table has the sizes
}

// Records is one direction of an AEAD stream: a counter is the nonce of each seal.
type Records struct {
	aead  cipher.AEAD
	nonce [nonceLen]byte
	size  int // of the record whose length was opened; 0: none was
}

// Records returns one direction of an AEAD stream, sending or receiving, of which salt is the salt.
func (m *Method) Records(key, salt []byte) *Records {
	return &Records{aead: m.sealer(key, salt)}
}

func (r *Records) turn() {
	low := binary.LittleEndian.Uint64(r.nonce[:]) + 1
	binary.LittleEndian.PutUint64(r.nonce[:], low)
}

// Seal makes a record of b: RecordFront bytes of room, 1 to MaxRecord bytes of payload, and
// RecordRear bytes of room.
func (r *Records) Seal(b []byte) {
	n := len(b) - RecordFront - RecordRear
	binary.BigEndian.PutUint16(b, uint16(n))
	r.aead.Seal(b[:0], r.nonce[:], b[:2], nil)
	r.turn()
	payload := b[RecordFront:]
	r.aead.Seal(payload[:0], r.nonce[:], payload[:n], nil)
	r.turn()
}

// Open decrypts the records at the start of b in place and returns how many bytes of payload b begins
// with then, and how many bytes of b those records, and maybe the length of the next one, were. With
// an error, which is final, there may be payload too.
func (r *Records) Open(b []byte) (payload, used int, err error) {
	for {
		if r.size == 0 {
			if len(b)-used < RecordFront {
				return payload, used, nil
			}
			length, err := r.aead.Open(b[used:used], r.nonce[:], b[used:used+RecordFront], nil)
			if err != nil {
				return payload, used, fmt.Errorf("length of a record: %w", ErrOpen)
			}
			r.turn()
			if r.size = int(binary.BigEndian.Uint16(length)); r.size == 0 || r.size > MaxRecord {
				return payload, used, fmt.Errorf("record of %d bytes: %w", r.size, ErrOpen)
			}
			used += RecordFront
		}
		total := r.size + tagSize
		if len(b)-used < total {
			return payload, used, nil
		}
		// In place, then moved: an AEAD takes no partial overlap.
		plain, err := r.aead.Open(b[used:used], r.nonce[:], b[used:used+total], nil)
		if err != nil {
			return payload, used, fmt.Errorf("record: %w", ErrOpen)
		}
		r.turn()
		payload += copy(b[payload:], plain)
		used += total
		r.size = 0
	}
}

package shadowsocks

import (
	"crypto/cipher"
	"encoding/binary"
	"errors"
)

// Errors of a stream. After one it is broken.
var (
	errChunk = errors.New("shadowsocks: a chunk does not open")
	errSize  = errors.New("shadowsocks: a chunk is longer than chunks may be")
)

// Half is one direction of a stream: a cipher and the chunks that it has sealed or opened.
//
//	| sealed: length u16be | sealed: payload | …
type Half struct {
	aead  cipher.AEAD
	nonce [maxNonce]byte // little endian, counts up
	most  int            // payload of a chunk, in bytes
}

// NewHalf returns a direction that begins with an all-zero nonce and has at most so many bytes of
// payload in a chunk, 65535 being all that can be.
func NewHalf(aead cipher.AEAD, most int) Half { return Half{aead: aead, most: most} }

// Seal appends plain, sealed, to dst. plain begins where dst ends, or is apart.
func (h *Half) Seal(dst, plain []byte) []byte {
	sealed := h.aead.Seal(dst, h.nonce[:h.aead.NonceSize()], plain, nil)
	h.count()
	return sealed
}

// count moves the nonce on. Of 96 bits 64 never come back.
func (h *Half) count() {
	le := binary.LittleEndian
	n := le.Uint64(h.nonce[:]) + 1
	le.PutUint64(h.nonce[:], n)
}

// Size implements chunk.Opener.
func (h *Half) Size() int { return sealedLength }

// Length implements chunk.Opener. It opens field in place.
func (h *Half) Length(field []byte) (int, error) {
	plain, err := h.Open(field, field)
	if err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint16(plain))
	if n > h.most {
		return 0, errSize
	}
	return n + TagSize, nil
}

// Open implements chunk.Opener.
func (h *Half) Open(dst, sealed []byte) ([]byte, error) {
	plain, err := h.aead.Open(dst[:0], h.nonce[:h.aead.NonceSize()], sealed, nil)
	if err != nil {
		return nil, errChunk
	}
	h.count()
	return plain, nil
}

// lead writes a sealed length to dst, of sealedLength bytes.
func (h *Half) lead(dst []byte, n int) {
	binary.BigEndian.PutUint16(dst, uint16(n))
	h.Seal(dst[:0], dst[:lengthSize])
}

// Package cfb is a block cipher in CFB mode with whole-block feedback (NIST SP 800-38A §6.3). The
// standard library's is deprecated, as it should be: only old protocols need it.
package cfb

import (
	"crypto/cipher"
	"crypto/subtle"
)

// BlockSize is the block of the ciphers that it takes, in bytes.
const BlockSize = 16

// Stream is one direction. It is either encrypted with or decrypted with, never both.
type Stream struct {
	block  cipher.Block
	stream [BlockSize]byte // to XOR with
	last   [BlockSize]byte // ciphertext, whole once used is BlockSize
	used   int             // bytes of stream
}

// New returns a stream that begins at iv. The block of b is BlockSize bytes.
func New(b cipher.Block, iv [BlockSize]byte) *Stream {
	s := &Stream{block: b}
	s.Reset(iv)
	return s
}

// Reset begins anew at iv.
func (s *Stream) Reset(iv [BlockSize]byte) { s.last, s.used = iv, BlockSize }

// turn makes the next block of the stream.
func (s *Stream) turn() {
	s.block.Encrypt(s.stream[:], s.last[:])
	s.used = 0
}

// Encrypt writes the ciphertext of src to dst, as long as src and the same or apart.
func (s *Stream) Encrypt(dst, src []byte) {
	for len(src) > 0 {
		if s.used == BlockSize {
			s.turn()
		}
		n := subtle.XORBytes(dst, src[:min(len(src), BlockSize-s.used)], s.stream[s.used:])
		copy(s.last[s.used:], dst[:n])
		s.used += n
		dst, src = dst[n:], src[n:]
	}
}

// Decrypt is the reverse of Encrypt.
func (s *Stream) Decrypt(dst, src []byte) {
	for len(src) > 0 {
		if s.used == BlockSize {
			s.turn()
		}
		n := min(len(src), BlockSize-s.used)
		copy(s.last[s.used:], src[:n])
		subtle.XORBytes(dst, src[:n], s.stream[s.used:])
		s.used += n
		dst, src = dst[n:], src[n:]
	}
}

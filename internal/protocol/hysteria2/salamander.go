package hysteria2

import (
	"encoding/binary"

	"golang.org/x/crypto/blake2b"
)

// SaltSize is what Salamander puts before a datagram in bytes.
const SaltSize = 8

// MinSalamander is the shortest password in bytes that other servers take.
const MinSalamander = 4

// Salamander hides datagrams: each is XORed with a key of its own, BLAKE2b-256 of the password and a
// salt. It is safe for concurrent use.
//
//	| salt 8 | payload XOR key, key, … |
type Salamander struct {
	password []byte
}

// NewSalamander uses password, of at most 512 bytes.
func NewSalamander(password string) *Salamander { return &Salamander{[]byte(password)} }

// maxSecret bounds password and salt together, so that hashing needs no allocation.
const maxSecret = 512 + SaltSize

func (s *Salamander) key(salt []byte) [blake2b.Size256]byte {
	var secret [maxSecret]byte
	n := copy(secret[:maxSecret-SaltSize], s.password)
	n += copy(secret[n:], salt[:SaltSize])
	return blake2b.Sum256(secret[:n])
}

// Open recovers a datagram to dst, which may be b itself, and returns its length in bytes. It reports
// false for one that is none.
func (s *Salamander) Open(dst, b []byte) (int, bool) {
	if len(b) <= SaltSize || len(dst) < len(b)-SaltSize {
		return 0, false
	}
	key := s.key(b)
	xor(dst, b[SaltSize:], &key)
	return len(b) - SaltSize, true
}

// Seal writes salt, of SaltSize bytes, and the hidden b to dst, which has room for both and does not
// overlap b, and returns the length.
func (s *Salamander) Seal(dst, b, salt []byte) int {
	copy(dst, salt[:SaltSize])
	key := s.key(salt)
	xor(dst[SaltSize:], b, &key)
	return SaltSize + len(b)
}

// xor writes src XOR key, repeated, to dst. It goes forward, so dst may be an earlier part of the same
// memory.
func xor(dst, src []byte, key *[blake2b.Size256]byte) {
	var words [blake2b.Size256 / 8]uint64
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(key[8*i:])
	}
	for len(src) >= blake2b.Size256 {
		for i, w := range words {
			binary.LittleEndian.PutUint64(dst[8*i:], binary.LittleEndian.Uint64(src[8*i:])^w)
		}
		dst, src = dst[blake2b.Size256:], src[blake2b.Size256:]
	}
	for i, c := range src {
		dst[i] = c ^ key[i]
	}
}

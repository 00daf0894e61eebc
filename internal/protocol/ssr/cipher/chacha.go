package cipher

import (
	"encoding/binary"

	"golang.org/x/crypto/chacha20"
)

// chacha is ChaCha20 with an IV of 8 bytes, as Bernstein made it, or of 12, RFC 8439. The first has a
// counter of 64 bits, whose upper half is where the other has the first 4 bytes of its IV.
type chacha struct {
	key    [chacha20.KeySize]byte
	nonce  [chacha20.NonceSize]byte
	cipher chacha20.Cipher
	left   int64 // bytes until the lower half of the counter is used up
}

// chachaSpan is what 2^32 blocks are, in bytes.
const chachaSpan = 64 << 32

func newChaCha(key []byte, _ bool) state { return &chacha{key: [chacha20.KeySize]byte(key)} }

func (c *chacha) reset(iv []byte) {
	c.nonce = [chacha20.NonceSize]byte{}
	copy(c.nonce[len(c.nonce)-len(iv):], iv)
	c.begin()
}

func (c *chacha) begin() {
	stream, err := chacha20.NewUnauthenticatedCipher(c.key[:], c.nonce[:])
	if err != nil {
		panic("ssr: " + err.Error()) // never: the arrays have the sizes
	}
	c.cipher, c.left = *stream, chachaSpan
}

// XOR implements Stream. Beyond 256 GiB the counter carries over, as libsodium's does: the library
// would panic.
func (c *chacha) XOR(dst, src []byte) {
	for len(src) > 0 {
		if c.left == 0 {
			high := c.nonce[:4]
			binary.LittleEndian.PutUint32(high, binary.LittleEndian.Uint32(high)+1)
			c.begin()
		}
		n := int(min(int64(len(src)), c.left))
		c.cipher.XORKeyStream(dst[:n], src[:n])
		c.left -= int64(n)
		dst, src = dst[n:], src[n:]
	}
}

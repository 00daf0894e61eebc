package vmess

import (
	"crypto/cipher"
	"crypto/subtle"
)

// cfb is AES-128 in CFB mode with whole-block feedback (NIST SP 800-38A §6.3), of one direction. The
// standard library's is deprecated, as it should be: only the legacy forms need it.
type cfb struct {
	block  cipher.Block
	stream [16]byte // to XOR with
	last   [16]byte // ciphertext, whole once used is 16
	used   int      // bytes of stream
}

func newCFB(key, iv [16]byte) *cfb {
	return &cfb{block: newAES(key), last: iv, used: 16}
}

// turn makes the next block of the stream.
func (c *cfb) turn() {
	c.block.Encrypt(c.stream[:], c.last[:])
	c.used = 0
}

// encrypt writes the ciphertext of src to dst, as long as src and the same or apart.
func (c *cfb) encrypt(dst, src []byte) {
	for len(src) > 0 {
		if c.used == 16 {
			c.turn()
		}
		n := subtle.XORBytes(dst, src[:min(len(src), 16-c.used)], c.stream[c.used:])
		copy(c.last[c.used:], dst[:n])
		c.used += n
		dst, src = dst[n:], src[n:]
	}
}

// decrypt is the reverse of encrypt.
func (c *cfb) decrypt(dst, src []byte) {
	for len(src) > 0 {
		if c.used == 16 {
			c.turn()
		}
		n := min(len(src), 16-c.used)
		copy(c.last[c.used:], src[:n])
		subtle.XORBytes(dst, src[:n], c.stream[c.used:])
		c.used += n
		dst, src = dst[n:], src[n:]
	}
}

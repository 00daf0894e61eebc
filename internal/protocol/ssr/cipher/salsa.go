package cipher

import (
	"crypto/subtle"
	"encoding/binary"

	"golang.org/x/crypto/salsa20/salsa" //nolint:staticcheck // the package that is not deprecated cannot go on in a stream
)

const salsaBlock = 64

// salsa20 is Salsa20/20. The library works on whole blocks; a block that was used in part is kept.
type salsa20 struct {
	key     [32]byte
	counter [16]byte // IV 8, number of the next block 8
	stream  [salsaBlock]byte
	used    int // bytes of stream
}

func newSalsa(key []byte, _ bool) state { return &salsa20{key: [32]byte(key)} }

func (c *salsa20) reset(iv []byte) {
	c.counter = [16]byte{}
	copy(c.counter[:], iv)
	c.used = salsaBlock
}

// XOR implements Stream.
func (c *salsa20) XOR(dst, src []byte) {
	if c.used < salsaBlock {
		n := subtle.XORBytes(dst, src, c.stream[c.used:])
		c.used += n
		dst, src = dst[n:], src[n:]
	}
	if whole := len(src) / salsaBlock; whole > 0 {
		n := whole * salsaBlock
		salsa.XORKeyStream(dst[:n], src[:n], &c.counter, &c.key)
		c.skip(uint64(whole))
		dst, src = dst[n:], src[n:]
	}
	if len(src) > 0 {
		clear(c.stream[:])
		salsa.XORKeyStream(c.stream[:], c.stream[:], &c.counter, &c.key)
		c.skip(1)
		c.used = subtle.XORBytes(dst, src, c.stream[:])
	}
}

// skip counts blocks: the library changes no more than a copy.
func (c *salsa20) skip(blocks uint64) {
	at := c.counter[8:]
	binary.LittleEndian.PutUint64(at, binary.LittleEndian.Uint64(at)+blocks)
}

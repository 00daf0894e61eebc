package cipher

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"

	"heki/internal/protocol/cfb"
)

// newAES returns AES with a key of 16, 24 or 32 bytes.
func newAES(key []byte) cipher.Block {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("ssr: " + err.Error()) // never: the table has the sizes
	}
	return block
}

// cfbEncrypter and cfbDecrypter are AES in CFB mode with whole-block feedback.
type (
	cfbEncrypter struct{ cfb.Stream }
	cfbDecrypter struct{ cfb.Stream }
)

func newAESCFB(key []byte, decrypt bool) state {
	s := cfb.New(newAES(key), [aes.BlockSize]byte{})
	if decrypt {
		return &cfbDecrypter{*s}
	}
	return &cfbEncrypter{*s}
}

func (c *cfbEncrypter) reset(iv []byte) { c.Reset([aes.BlockSize]byte(iv)) }

// XOR implements Stream.
func (c *cfbEncrypter) XOR(dst, src []byte) { c.Encrypt(dst, src) }

func (c *cfbDecrypter) reset(iv []byte) { c.Reset([aes.BlockSize]byte(iv)) }

// XOR implements Stream.
func (c *cfbDecrypter) XOR(dst, src []byte) { c.Decrypt(dst, src) }

// ofb is AES in OFB mode (NIST SP 800-38A §6.4). The standard library's is deprecated.
type ofb struct {
	block  cipher.Block
	stream [aes.BlockSize]byte
	used   int // bytes of stream
}

func newAESOFB(key []byte, _ bool) state { return &ofb{block: newAES(key)} }

func (c *ofb) reset(iv []byte) {
	copy(c.stream[:], iv)
	c.used = aes.BlockSize
}

// XOR implements Stream.
func (c *ofb) XOR(dst, src []byte) {
	for len(src) > 0 {
		if c.used == aes.BlockSize {
			c.block.Encrypt(c.stream[:], c.stream[:])
			c.used = 0
		}
		n := subtle.XORBytes(dst, src, c.stream[c.used:])
		c.used += n
		dst, src = dst[n:], src[n:]
	}
}

// ctr is AES in CTR mode for streams. The standard library works on many blocks at once, and
// allocates for each IV.
type ctr struct {
	block cipher.Block
	cipher.Stream
}

func newAESCTR(key []byte, _ bool) state { return &ctr{block: newAES(key)} }

func (c *ctr) reset(iv []byte) { c.Stream = cipher.NewCTR(c.block, iv) }

// XOR implements Stream.
func (c *ctr) XOR(dst, src []byte) { c.XORKeyStream(dst, src) }

// shortCTR is the same for datagrams, without an allocation: whole datagrams, one XOR after a reset.
type shortCTR struct {
	block           cipher.Block
	counter, stream [aes.BlockSize]byte
}

func newShortCTR(key []byte, _ bool) state { return &shortCTR{block: newAES(key)} }

func (c *shortCTR) reset(iv []byte) { copy(c.counter[:], iv) }

// XOR implements Stream.
func (c *shortCTR) XOR(dst, src []byte) {
	for len(src) > 0 {
		c.block.Encrypt(c.stream[:], c.counter[:])
		low := binary.BigEndian.Uint64(c.counter[8:]) + 1
		binary.BigEndian.PutUint64(c.counter[8:], low)
		if low == 0 {
			binary.BigEndian.PutUint64(c.counter[:8], binary.BigEndian.Uint64(c.counter[:8])+1)
		}
		n := subtle.XORBytes(dst, src, c.stream[:])
		dst, src = dst[n:], src[n:]
	}
}

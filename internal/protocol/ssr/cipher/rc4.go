package cipher

import "crypto/md5"

// RC4 is the stream cipher of that name. The standard library's cannot take another key without an
// allocation, which the datagrams of auth_chain need. The zero value needs SetKey.
type RC4 struct {
	s    [256]byte
	i, j byte
}

// SetKey begins anew with a key of 1 to 256 bytes.
func (c *RC4) SetKey(key []byte) {
	for i := range c.s {
		c.s[i] = byte(i)
	}
	j := byte(0)
	for i := range c.s {
		j += c.s[i] + key[i%len(key)]
		c.s[i], c.s[j] = c.s[j], c.s[i]
	}
	c.i, c.j = 0, 0
}

// XOR implements Stream. dst may also begin before src.
func (c *RC4) XOR(dst, src []byte) {
	i, j, dst := c.i, c.j, dst[:len(src)]
	for k, v := range src {
		i++
		x := c.s[i]
		j += x
		y := c.s[j]
		c.s[i], c.s[j] = y, x
		dst[k] = v ^ c.s[x+y]
	}
	c.i, c.j = i, j
}

// rc4 is one stream for each direction, without an IV.
type rc4 struct {
	RC4
	key [16]byte
}

func newRC4(key []byte, _ bool) state { return &rc4{key: [16]byte(key)} }

func (c *rc4) reset([]byte) { c.SetKey(c.key[:]) }

// rc4md5 is RC4 with the key MD5(key | iv).
type rc4md5 struct {
	RC4
	seed [32]byte // key | iv
}

func newRC4MD5(key []byte, _ bool) state {
	c := new(rc4md5)
	copy(c.seed[:], key)
	return c
}

func (c *rc4md5) reset(iv []byte) {
	copy(c.seed[16:], iv)
	sum := md5.Sum(c.seed[:])
	c.SetKey(sum[:])
}

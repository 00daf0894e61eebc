package protocol

import (
	"crypto/aes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"hash"
)

// macBlock is the block of MD5 and SHA-1 in bytes.
const macBlock = 64

// mac is HMAC (RFC 2104) whose key changes with every frame, which crypto/hmac allocates for. It is
// for one goroutine at a time.
type mac struct {
	hash hash.Hash
	key  []byte // of frames: the user's key and room for a number
	pad  [macBlock]byte
	out  [sha1.Size]byte
}

// newMAC returns a mac whose frames have the key user.
func newMAC(h func() hash.Hash, user []byte) *mac {
	m := &mac{hash: h()}
	m.setUser(user)
	return m
}

// setUser changes the key of frames.
func (m *mac) setUser(user []byte) {
	m.key = append(append(m.key[:0], user...), 0, 0, 0, 0)
}

// sum returns the MAC of b. It is valid until the next call.
func (m *mac) sum(key, b []byte) []byte {
	clear(m.pad[:])
	if len(key) > macBlock {
		m.hash.Reset()
		_, _ = m.hash.Write(key) // a hash never fails
		m.hash.Sum(m.pad[:0])
	} else {
		copy(m.pad[:], key)
	}
	for i := range m.pad {
		m.pad[i] ^= 0x36
	}
	m.hash.Reset()
	_, _ = m.hash.Write(m.pad[:])
	_, _ = m.hash.Write(b)
	inner := m.hash.Sum(m.out[:0])
	for i := range m.pad {
		m.pad[i] ^= 0x36 ^ 0x5c
	}
	m.hash.Reset()
	_, _ = m.hash.Write(m.pad[:])
	_, _ = m.hash.Write(inner)
	return m.hash.Sum(m.out[:0])
}

// frame returns the MAC of frame number id.
func (m *mac) frame(id uint32, b []byte) []byte {
	binary.LittleEndian.PutUint32(m.key[len(m.key)-4:], id)
	return m.sum(m.key, b)
}

// user returns the MAC of b with the user's key alone.
func (m *mac) user(b []byte) []byte { return m.sum(m.key[:len(m.key)-4], b) }

// same compares in constant time; want may be longer than got.
func same(got, want []byte) bool { return subtle.ConstantTimeCompare(got, want[:len(got)]) == 1 }

// derive is kdf(base64(user) | tail, 16), which is one MD5. scratch may be nil.
func derive(scratch, user, tail []byte, encode bool) ([md5.Size]byte, []byte) {
	scratch = base64.StdEncoding.AppendEncode(scratch[:0], user)
	if encode {
		scratch = base64.StdEncoding.AppendEncode(scratch, tail)
	} else {
		scratch = append(scratch, tail...)
	}
	return md5.Sum(scratch), scratch
}

// sealedSize is the encrypted block of an auth head.
const sealedSize = aes.BlockSize

// secret is the encrypted block of an auth head.
type secret struct {
	utc, client, conn uint32
	c, d              uint16 // by protocol
}

// open decrypts b.
func (s *secret) open(b, user []byte, salt string) {
	key, _ := derive(nil, user, []byte(salt), false)
	var p [sealedSize]byte
	newAES(key).Decrypt(p[:], b[:sealedSize]) // CBC of one block with a zero IV
	s.utc, s.client, s.conn = binary.LittleEndian.Uint32(p[:]), binary.LittleEndian.Uint32(p[4:]), binary.LittleEndian.Uint32(p[8:])
	s.c, s.d = binary.LittleEndian.Uint16(p[12:]), binary.LittleEndian.Uint16(p[14:])
}

// append encrypts s to the end of b.
func (s *secret) append(b, user []byte, salt string) []byte {
	key, _ := derive(nil, user, []byte(salt), false)
	var p [sealedSize]byte
	binary.LittleEndian.PutUint32(p[:], s.utc)
	binary.LittleEndian.PutUint32(p[4:], s.client)
	binary.LittleEndian.PutUint32(p[8:], s.conn)
	binary.LittleEndian.PutUint16(p[12:], s.c)
	binary.LittleEndian.PutUint16(p[14:], s.d)
	newAES(key).Encrypt(p[:], p[:])
	return append(b, p[:]...)
}

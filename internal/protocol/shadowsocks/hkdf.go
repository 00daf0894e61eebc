package shadowsocks

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding"
	"encoding/binary"
	"hash"
)

const (
	blockSize = sha1.BlockSize
	sumSize   = sha1.Size

	// stateSize is the length of crypto/sha1's marshalled state: a mark, the five words, the block that
	// is being filled and the length. TestSHA1State pins it.
	stateSize = 4 + sumSize + blockSize + 8
	wordsAt   = 4

	info = "ss-subkey"
)

// digest is crypto/sha1 with its state opened: it works on whole blocks, so that the padding, which is
// always the same, is neither built nor written again for each user.
type digest interface {
	hash.Hash
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

// schedule derives subkeys, HKDF-SHA1(master key, salt, "ss-subkey"), for many master keys and one
// salt. In HKDF the salt is the key of the first HMAC: its two pads are hashed once for all. What is
// left of a user are 6 blocks for a key of 16 bytes and 8 for a longer one, the fewest there can be.
type schedule struct {
	sha          digest
	inner, outer [stateSize]byte // after the pads of the salt

	// Scratch. In a pair the second block is what follows the pad in the first.
	state  [stateSize]byte
	sum    [blockSize]byte // a digest as the last block of an HMAC
	ipad   pair            // the message of the first expansion: info and 1
	opad   pair            // a digest
	second [blockSize]byte // the message of the second: the first's result, info and 2
	okm    [2 * sumSize]byte

	afterIpad, afterOpad [stateSize]byte // states, for the second
}

type pair [2 * blockSize]byte

func newSchedule() *schedule {
	sha, ok := sha1.New().(digest)
	if !ok {
		panic("shadowsocks: crypto/sha1 does not show its state")
	}
	s := &schedule{sha: sha}
	lastBlock(s.sum[:], sumSize)
	lastBlock(s.opad[blockSize:], sumSize)
	lastBlock(s.ipad[blockSize:], copy(s.ipad[blockSize:], info+"\x01"))
	lastBlock(s.second[:], sumSize+copy(s.second[sumSize:], info+"\x02"))
	return s
}

// lastBlock pads a block that holds n bytes and follows the pad of an HMAC.
func lastBlock(b []byte, n int) {
	b[n] = 0x80
	binary.BigEndian.PutUint64(b[blockSize-8:], uint64(blockSize+n)*8)
}

const ipadByte, opadByte = 0x36, 0x5c // RFC 2104

// setSalt starts over with another salt, of at most blockSize bytes.
func (s *schedule) setSalt(salt []byte) {
	for i := range blockSize {
		s.ipad[i], s.opad[i] = ipadByte, opadByte
	}
	subtle.XORBytes(s.ipad[:], s.ipad[:], salt)
	subtle.XORBytes(s.opad[:], s.opad[:], salt)
	s.sha.Reset()
	s.save(&s.inner, s.ipad[:blockSize])
	s.sha.Reset()
	s.save(&s.outer, s.opad[:blockSize])
	for i := range salt { // what a PRK does not reach is pad for good
		s.ipad[i], s.opad[i] = ipadByte, opadByte
	}
}

// setPads makes prk, of sumSize bytes, the key of the two pairs.
func (s *schedule) setPads(prk []byte) {
	const i8, o8 = 0x0101010101010101 * ipadByte, 0x0101010101010101 * opadByte
	const i4, o4 = i8 & 0xffffffff, o8 & 0xffffffff
	le := binary.LittleEndian
	for at := 0; at < 16; at += 8 {
		word := le.Uint64(prk[at:])
		le.PutUint64(s.ipad[at:], word^i8)
		le.PutUint64(s.opad[at:], word^o8)
	}
	word := le.Uint32(prk[16:])
	le.PutUint32(s.ipad[16:], word^i4)
	le.PutUint32(s.opad[16:], word^o4)
}

// save hashes whole blocks and writes the state after them to state. It returns the five words.
func (s *schedule) save(state *[stateSize]byte, blocks []byte) []byte {
	_, _ = s.sha.Write(blocks)                     // never fails
	_, _ = s.sha.AppendBinary(state[:0:stateSize]) // never fails, and has the room
	return state[wordsAt : wordsAt+sumSize]
}

// after is save for one block that follows state.
func (s *schedule) after(state *[stateSize]byte, block *[blockSize]byte) []byte {
	_ = s.sha.UnmarshalBinary(state[:]) // never fails: it is a state of AppendBinary
	return s.save(&s.state, block[:])
}

// subkey derives the key for a master key. It is valid until the next call.
func (s *schedule) subkey(k *Key) []byte {
	copy(s.sum[:sumSize], s.after(&s.inner, &k.master))
	s.setPads(s.after(&s.outer, &s.sum))

	if k.size > sumSize {
		s.expandTwice()
	} else {
		s.expandOnce()
	}
	return s.okm[:k.size]
}

// expandOnce is the HMAC of the message in ipad. A pad and what follows it are hashed in one go.
func (s *schedule) expandOnce() {
	s.sha.Reset()
	copy(s.opad[blockSize:], s.save(&s.state, s.ipad[:]))
	s.sha.Reset()
	copy(s.okm[:], s.save(&s.state, s.opad[:]))
}

// expandTwice is expandOnce and the HMAC of the message in second, which has the same pads: their states
// are kept.
func (s *schedule) expandTwice() {
	s.sha.Reset()
	s.save(&s.afterIpad, s.ipad[:blockSize])
	copy(s.opad[blockSize:], s.save(&s.state, s.ipad[blockSize:]))
	s.sha.Reset()
	s.save(&s.afterOpad, s.opad[:blockSize])
	first := s.okm[:copy(s.okm[:], s.save(&s.state, s.opad[blockSize:]))]
	copy(s.second[:], first)
	copy(s.sum[:], s.after(&s.afterIpad, &s.second))
	copy(s.okm[sumSize:], s.after(&s.afterOpad, &s.sum))
}

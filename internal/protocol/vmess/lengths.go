package vmess

import (
	"crypto/cipher"
	"crypto/sha3"
	"encoding/binary"
	"errors"
)

// maxChunkPadding is the most padding of a chunk in bytes.
const maxChunkPadding = 63

// maxLength is the largest length field, so what follows it is at most that long, and tagSize more
// when the length is authenticated.
const maxLength = 65535

var errChunkLength = errors.New("vmess: the length of a chunk does not open")

// counter makes the nonces of one direction. It wraps without a word after 65536 chunks, as all
// implementations do.
type counter struct {
	nonce [12]byte
	n     uint16
}

func newCounter(iv [16]byte) counter { return counter{nonce: [12]byte(iv[:12])} }

// next returns the nonce for the next chunk, valid until it is called again.
func (c *counter) next() []byte {
	binary.BigEndian.PutUint16(c.nonce[:], c.n)
	c.n++
	return c.nonce[:]
}

// lengths encodes or decodes the length fields of one direction. For each chunk call padding first,
// then put or parse, each exactly once: both draw from one stream.
type lengths struct {
	shake      *sha3.SHAKE // nil when neither is on
	mask, pad  bool
	draw       [2]byte
	aead       cipher.AEAD // authenticated lengths
	aeadNonces counter
	plain      [lengthSize]byte // scratch of the AEAD
	field      [lengthSize]byte // scratch of the body
}

// newLengths returns the lengths of the direction with that IV.
func newLengths(s *Session, iv [16]byte) (l lengths) {
	aead := s.Security == SecurityGCM || s.Security == SecurityChaCha
	// V2Ray pads unencrypted packets, not unencrypted streams.
	l.pad = s.Options&OptionGlobalPadding != 0 && (s.Security != SecurityNone || s.Command == CommandUDP)
	l.mask = s.Options&OptionChunkMasking != 0
	if aead && s.Options&OptionAuthenticatedLength != 0 {
		l.mask = false
		// The request's key and IV, in both directions.
		l.aead = newBodyAEAD(s.Security, KDF16(s.Key[:], authLenText))
		l.aeadNonces = newCounter(s.IV)
	}
	if l.mask || l.pad {
		l.shake = sha3.NewSHAKE128()
		_, _ = l.shake.Write(iv[:]) // never fails
	}
	return l
}

// size is the length of a length field in bytes.
func (l *lengths) size() int {
	if l.aead != nil {
		return lengthSize + tagSize
	}
	return lengthSize
}

// most is the largest total that put takes.
func (l *lengths) most() int {
	if l.aead != nil {
		return maxLength + tagSize
	}
	return maxLength
}

func (l *lengths) random() uint16 {
	_, _ = l.shake.Read(l.draw[:]) // never fails
	return binary.BigEndian.Uint16(l.draw[:])
}

// padding returns how many bytes of padding the next chunk has.
func (l *lengths) padding() int {
	if !l.pad {
		return 0
	}
	return int(l.random() % (maxChunkPadding + 1))
}

// put writes the field for a chunk with total bytes behind it to b, which has size bytes.
func (l *lengths) put(b []byte, total int) {
	if l.aead != nil {
		binary.BigEndian.PutUint16(l.plain[:], uint16(total-tagSize))
		l.aead.Seal(b[:0], l.aeadNonces.next(), l.plain[:], nil)
		return
	}
	length := uint16(total)
	if l.mask {
		length ^= l.random()
	}
	binary.BigEndian.PutUint16(b, length)
}

// parse is the reverse of put.
func (l *lengths) parse(b []byte) (total int, err error) {
	if l.aead != nil {
		plain, err := l.aead.Open(l.plain[:0], l.aeadNonces.next(), b, nil)
		if err != nil {
			return 0, errChunkLength
		}
		return int(binary.BigEndian.Uint16(plain)) + tagSize, nil
	}
	length := binary.BigEndian.Uint16(b)
	if l.mask {
		length ^= l.random()
	}
	return int(length), nil
}

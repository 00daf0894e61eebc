package vmess

import (
	"crypto/cipher"
	"crypto/sha3"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/chacha20poly1305"

	"heki/internal/protocol/cfb"
)

// fnvSize is the checksum in front of a legacy chunk's payload in bytes.
const fnvSize = 4

// maxChunk is the most payload that a stream's chunk is given in bytes: sing-box's client reads a
// chunk with its tag into 16 KiB.
const maxChunk = 16<<10 - tagSize

// Errors of a body. After one the stream is broken.
var (
	errChunk     = errors.New("vmess: a chunk does not open")
	errChunkSize = errors.New("vmess: a chunk is shorter than its overhead")
)

// newBodyAEAD returns the AEAD of security with the body key.
func newBodyAEAD(security Security, key [16]byte) cipher.AEAD {
	if security != SecurityChaCha {
		return newGCM(key)
	}
	aead, err := chacha20poly1305.New(chachaKey(key))
	if err != nil {
		panic("vmess: " + err.Error()) // never: the key has 32 bytes
	}
	return aead
}

// body encrypts or decrypts one direction.
//
//	| length 2, or 18 authenticated | ciphertext and tag, or FNV-1a and data, or data | padding |
//
// The length covers all that follows it. In the legacy security the whole stream, lengths included,
// is CFB on top of that.
type body struct {
	lengths
	chunked bool
	front   int // overhead in front of the payload, after the length
	rear    int // behind it, without padding
	aead    cipher.AEAD
	nonces  counter
	cfb     *cfb.Stream
	noise   *sha3.SHAKE // what padding consists of
}

func newBody(s *Session, key, iv [16]byte) body {
	b := body{chunked: s.Options&OptionChunkStream != 0}
	switch s.Security {
	case SecurityGCM, SecurityChaCha:
		b.chunked = true
		b.rear = tagSize
		b.aead = newBodyAEAD(s.Security, key)
		b.nonces = newCounter(iv)
	case SecurityLegacy:
		b.front = fnvSize
		b.cfb = newCFB(key, iv)
	}
	if !b.chunked {
		return b
	}
	b.lengths = newLengths(s, iv)
	if b.pad {
		// Nobody reads padding; it has to look random, and a hash of the key does.
		b.noise = sha3.NewSHAKE128()
		_, _ = b.noise.Write(key[:])
		_, _ = b.noise.Write([]byte("padding"))
	}
	return b
}

// raw says that the body is the payload as it is.
func (b *body) raw() bool { return !b.chunked && b.cfb == nil }

// overhead is what a chunk has beside payload and padding, the length field apart.
func (b *body) overhead() int { return b.front + b.rear }

// seal writes a chunk of payload with pad bytes of padding, as lengths.padding said, to dst and
// returns its length. The payload is where it belongs in dst already, or apart from it.
func (b *body) seal(dst, payload []byte, pad int) int {
	at := b.size()
	total := b.overhead() + len(payload) + pad
	b.put(dst[:at], total)
	end := at + total
	switch {
	case b.aead != nil:
		b.aead.Seal(dst[at:at], b.nonces.next(), payload, nil)
	default:
		copy(dst[at+b.front:], payload)
		if b.front > 0 {
			binary.BigEndian.PutUint32(dst[at:], fnv1a(payload))
		}
	}
	if pad > 0 {
		_, _ = b.noise.Read(dst[end-pad : end])
	}
	if b.cfb != nil {
		b.cfb.Encrypt(dst[:end], dst[:end])
	}
	return end
}

// length decodes the length field src and returns how many bytes follow it, and how many of those
// are padding.
func (b *body) length(src []byte) (total, pad int, err error) {
	if b.cfb != nil {
		b.cfb.Decrypt(b.field[:], src)
		src = b.field[:]
	}
	pad = b.padding()
	if total, err = b.parse(src); err != nil {
		return 0, 0, err
	}
	if total < b.overhead()+pad {
		return 0, 0, errChunkSize
	}
	return total, pad, nil
}

// open decrypts the chunk src, pad bytes of which are padding, to dst, which has room for the payload
// and is apart from src or begins where it does, and returns the payload.
func (b *body) open(dst, src []byte, pad int) ([]byte, error) {
	sealed := src[:len(src)-pad]
	switch {
	case b.aead != nil:
		plain, err := b.aead.Open(dst[:0], b.nonces.next(), sealed, nil)
		if err != nil {
			return nil, errChunk
		}
		return plain, nil
	case b.cfb != nil:
		return b.openLegacy(dst, sealed, src[len(sealed):])
	}
	return dst[:copy(dst, sealed)], nil
}

func (b *body) openLegacy(dst, sealed, padding []byte) ([]byte, error) {
	var sum [fnvSize]byte
	b.cfb.Decrypt(sum[:], sealed[:fnvSize])
	n := len(sealed) - fnvSize
	dst = dst[:n]
	copy(dst, sealed[fnvSize:]) // the two may overlap
	b.cfb.Decrypt(dst, dst)
	var forget [maxChunkPadding]byte
	b.cfb.Decrypt(forget[:], padding)
	if fnv1a(dst) != binary.BigEndian.Uint32(sum[:]) {
		return nil, errChunk
	}
	return dst, nil
}

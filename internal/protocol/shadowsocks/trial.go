package shadowsocks

import (
	"crypto/cipher"
	"encoding/binary"

	"golang.org/x/crypto/chacha20"
)

// Trial finds whose key sealed something. Making one is costly, another Begin is not: keep it. It is
// for one goroutine at a time.
type Trial struct {
	method Method
	salt   *schedule
	packet bool
	sealed []byte // the length chunk of a stream, or a whole datagram after its salt
	next   []byte // of a stream: what is there after it
	plain  []byte // of a datagram: where it is opened to

	in, out [16]byte // scratch
	nonce   [maxNonce]byte
}

// NewTrial returns a Trial of one method.
func NewTrial(m Method) *Trial { return &Trial{method: m, salt: newSchedule()} }

// StreamHead is how many bytes of a stream BeginStream wants.
func (m Method) StreamHead() int { return m.KeySize() + sealedLength }

// BeginStream makes the start of a stream, StreamHead bytes of it at least, what is tried next. One byte
// more makes it faster. It keeps head until then.
func (t *Trial) BeginStream(head []byte) {
	n := t.method.KeySize()
	t.salt.setSalt(head[:n])
	t.packet, t.sealed, t.next, t.plain = false, head[n:n+sealedLength], head[n+sealedLength:], t.out[:0]
}

// BeginPacket makes a datagram what is tried next and reports whether it is long enough to be one. It
// keeps datagram, and plain, which has room for it and is apart from it: the datagram is opened to it.
func (t *Trial) BeginPacket(datagram, plain []byte) bool {
	n := t.method.KeySize()
	if len(datagram) < n+minPacket+TagSize {
		return false
	}
	t.salt.setSalt(datagram[:n])
	t.packet, t.sealed, t.plain = true, datagram[n:], plain[:0]
	return true
}

// BeginPacketInPlace is BeginPacket for a datagram that is opened where it is. A wrong key that could be
// right leaves nothing of it, which happens one time in eighty.
func (t *Trial) BeginPacketInPlace(datagram []byte) bool {
	n := min(len(datagram), t.method.KeySize())
	return t.BeginPacket(datagram, datagram[n:])
}

// Try reports whether k sealed it. For a stream it returns the cipher, for a datagram what was in it. A
// stream whose first payload begins with no address may be nobody's.
//
// What a wrong key makes of the first bytes is no length, or no address, most of the time: only what
// could be right is worth a cipher and a look at the tag. That a key was right is for the tag to say.
func (t *Trial) Try(k *Key) (aead cipher.AEAD, plain []byte, ok bool) {
	subkey := t.salt.subkey(k)
	var block cipher.Block // nil with ChaCha20
	if t.method < ChaCha20Poly1305 {
		block = t.method.block(subkey)
	}
	if !t.plausible(subkey, block) {
		return nil, nil, false
	}
	if block != nil {
		aead = gcm(block)
	} else {
		aead = t.method.aead(subkey)
	}
	plain, err := aead.Open(t.plain, t.nonce[:aead.NonceSize()], t.sealed, nil)
	return aead, plain, err == nil
}

// plausible says that a length of 14 bits and an address, or an address, may start what was sealed.
func (t *Trial) plausible(subkey []byte, block cipher.Block) bool {
	t.keystream(subkey, block, 0)
	if t.packet {
		return startsAddress(t.out[0] ^ t.sealed[0])
	}
	length := binary.BigEndian.Uint16(t.out[:]) ^ binary.BigEndian.Uint16(t.sealed)
	if length > MaxPayload {
		return false
	}
	if length == 0 || len(t.next) == 0 {
		return true // the address comes later
	}
	t.keystream(subkey, block, 1)
	return startsAddress(t.out[0] ^ t.next[0])
}

// startsAddress says whether b is a kind of address.
func startsAddress(b byte) bool { return b == 1 || b == 3 || b == 4 }

// keystream writes what the first two bytes of a chunk are sealed with to out.
func (t *Trial) keystream(subkey []byte, block cipher.Block, chunk byte) {
	if block != nil {
		t.in = [16]byte{0: chunk, 15: 2} // SP 800-38D: counter 1 is for the tag
		block.Encrypt(t.out[:], t.in[:])
		return
	}
	n := chacha20.NonceSize
	if t.method == XChaCha20Poly1305 {
		n = chacha20.NonceSizeX
	}
	nonce := [maxNonce]byte{chunk}
	c, err := chacha20.NewUnauthenticatedCipher(subkey, nonce[:n])
	if err != nil {
		panic("shadowsocks: " + err.Error()) // never: both lengths are right
	}
	c.SetCounter(1) // RFC 8439 §2.8: block 0 is for the tag
	clear(t.out[:lengthSize])
	c.XORKeyStream(t.out[:lengthSize], t.out[:lengthSize])
}

package ss2022

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"fmt"

	M "github.com/sagernet/sing/common/metadata"
	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"

	"heki/internal/protocol/address"
)

const (
	headerSize  = 8 + 8 // of a datagram: session, number
	xnonceSize  = chacha20poly1305.NonceSizeX
	bodySize    = 1 + 8 + 2 // type, time, length of padding
	clientSize  = 8         // the client's session, in responses
	nonceOffset = 4         // the nonce is the last 12 bytes of the header
)

// PacketKey opens the headers of datagrams to a server. It never changes.
type PacketKey struct {
	method   Method
	key      []byte
	identity bool
	block    cipher.Block // AES: of the headers
	aead     cipher.AEAD  // ChaCha20: of everything
}

// NewPacketKey returns the one of a server's key. identity says that datagrams have identity headers.
func NewPacketKey(m Method, key []byte, identity bool) *PacketKey {
	k := &PacketKey{method: m, key: key, identity: identity}
	if m != ChaCha20Poly1305 {
		k.block = newBlock(key)
		return k
	}
	a, err := chacha20poly1305.NewX(key)
	if err != nil {
		panic("ss2022: " + err.Error()) // never: key sizes come from KeySize
	}
	k.aead = a
	return k
}

// SessionCipher is the cipher of a user's datagrams in a session.
func (k *PacketKey) SessionCipher(userKey []byte, session uint64) cipher.AEAD {
	if k.aead != nil {
		return k.aead
	}
	var id [8]byte
	binary.BigEndian.PutUint64(id[:], session)
	return k.method.session(userKey, id[:])
}

// Packet is a datagram on its way through. Its zero value is ready, and again after each. It is for one
// goroutine at a time.
type Packet struct {
	Session uint64 // chosen by the client
	ID      uint64 // counts up in a session
	Hash    Hash   // whose it is, with identity headers

	header [headerSize]byte
	nonce  [xnonceSize]byte
	body   []byte
}

// OpenHeader reads the header of a datagram, which it keeps and does not change. Nothing of that is
// proven before Open.
//
//	AES:    | AES block: session u64be, number u64be | identity header | sealed body |
//	ChaCha: | nonce 24 | sealed: session u64be, number u64be, body |
//
// The identity header is the AES block of the hash of the user's key, XOR the plain header.
func (p *Packet) OpenHeader(k *PacketKey, b []byte) error {
	n := headerSize
	switch {
	case k.aead != nil:
		n = xnonceSize
	case k.identity:
		n += hashSize
	}
	if len(b) < n+bodySize+tagSize {
		return fmt.Errorf("%w: %d bytes", ErrPacket, len(b))
	}
	p.body = b[n:]
	if k.aead != nil {
		copy(p.nonce[:], b)
		c, err := chacha20.NewUnauthenticatedCipher(k.key, p.nonce[:])
		if err != nil {
			return err // never: both lengths are right
		}
		c.SetCounter(1) // RFC 8439 §2.8: block 0 is for the tag
		c.XORKeyStream(p.header[:], p.body[:headerSize])
	} else {
		k.block.Decrypt(p.header[:], b[:headerSize])
		copy(p.nonce[:], p.header[nonceOffset:])
	}
	if k.identity {
		k.block.Decrypt(p.Hash[:], b[headerSize:n])
		subtle.XORBytes(p.Hash[:], p.Hash[:], p.header[:])
	}
	p.Session = binary.BigEndian.Uint64(p.header[:])
	p.ID = binary.BigEndian.Uint64(p.header[8:])
	return nil
}

// Open opens the datagram of OpenHeader in place with its SessionCipher and returns its body.
func (p *Packet) Open(aead cipher.AEAD) ([]byte, error) {
	plain, err := aead.Open(p.body[:0], p.nonce[:aead.NonceSize()], p.body, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: it does not open", ErrPacket)
	}
	if aead.NonceSize() == xnonceSize {
		plain = plain[headerSize:]
	}
	return plain, nil
}

// Body is the front of what is in a datagram.
type Body struct {
	Unix    int64       // the sender's clock
	Session uint64      // the client's session; in responses only
	Address M.Socksaddr // where it goes, or comes from
}

// ParseBody decodes the body of a datagram and returns how many bytes come before its payload. hint is
// a host name from an earlier call or "".
//
//	request:  | type 0 | time u64be | padding length u16be | padding | address S-ADDR | payload |
//	response: | type 1 | time u64be | client's session u64be | padding length … |
func ParseBody(b []byte, response bool, hint string) (Body, int, error) {
	typ, n := byte(typeRequest), bodySize
	if response {
		typ, n = typeResponse, bodySize+clientSize
	}
	if len(b) < n || b[0] != typ {
		return Body{}, 0, fmt.Errorf("%w: not of type %d", ErrPacket, typ)
	}
	var body Body
	unix := binary.BigEndian.Uint64(b[1:])
	if unix > 1<<62 {
		return Body{}, 0, fmt.Errorf("%w: time %d", ErrPacket, unix)
	}
	body.Unix = int64(unix)
	if response {
		body.Session = binary.BigEndian.Uint64(b[9:])
	}
	padding := int(binary.BigEndian.Uint16(b[n-2:]))
	if len(b) < n+padding {
		return Body{}, 0, fmt.Errorf("%w: %d bytes of padding", ErrPacket, padding)
	}
	n += padding
	dst, size, err := address.ParseS(b[n:], hint)
	if err != nil {
		return Body{}, 0, fmt.Errorf("%w: %w", ErrPacket, err)
	}
	body.Address = dst
	return body, n + size, nil
}

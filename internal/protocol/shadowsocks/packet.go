package shadowsocks

import (
	"fmt"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire"
)

const (
	// minPacket is the shortest address in bytes: a host name of one letter.
	minPacket = 1 + 1 + 1 + 2
	// PacketFront and PacketRear are the most that SealPacket puts before and behind a payload, the
	// source being an IP.
	PacketFront = MaxKeySize + 1 + 16 + 2
	PacketRear  = TagSize
)

// ErrPacket is wrapped by every error of a datagram.
var ErrPacket = fmt.Errorf("%w: no shadowsocks datagram", wire.ErrBadRequest)

// ParsePacket decodes the inside of a datagram: where it goes, and how many bytes come before its
// payload. hint is a host name from an earlier call or "".
//
//	| address S-ADDR | payload |
func ParsePacket(plain []byte, hint string) (M.Socksaddr, int, error) {
	dst, n, err := address.ParseS(plain, hint)
	if err != nil {
		return M.Socksaddr{}, 0, fmt.Errorf("%w: %w", ErrPacket, err)
	}
	return dst, n, nil
}

// SealPacket makes a datagram of the payload in b, which it owns: in place where b has PacketFront bytes
// in front and PacketRear behind. salt is random and KeySize bytes long; from is where the payload comes
// from.
//
// It allocates a cipher, as OpenPacket does: 1280 bytes in two pieces with AES, 32 with ChaCha20. Every
// datagram has a key of its own, and ciphers of crypto/aes and of x/crypto take no second one.
//
//	| salt | sealed: address S-ADDR, payload |
func (t *Trial) SealPacket(b *buf.Buffer, k *Key, from M.Socksaddr, salt []byte) *buf.Buffer {
	n := address.Size(from)
	b = wire.Room(b, len(salt)+n, TagSize)
	address.AppendS(b.ExtendHeader(n)[:0], from)
	t.salt.setSalt(salt)
	aead := t.method.aead(t.salt.subkey(k))
	plain := b.Bytes()
	b.Extend(TagSize)
	aead.Seal(plain[:0], t.nonce[:aead.NonceSize()], plain, nil)
	copy(b.ExtendHeader(len(salt)), salt)
	return b
}

// OpenPacket opens a datagram in place and returns its inside. It is for those who know the key; when
// it fails the datagram is lost.
func (t *Trial) OpenPacket(datagram []byte, k *Key) ([]byte, error) {
	n := t.method.KeySize()
	if len(datagram) < n+minPacket+TagSize {
		return nil, ErrPacket
	}
	t.salt.setSalt(datagram[:n])
	aead := t.method.aead(t.salt.subkey(k))
	plain, err := aead.Open(datagram[n:n], t.nonce[:aead.NonceSize()], datagram[n:], nil)
	if err != nil {
		return nil, ErrPacket
	}
	return plain, nil
}

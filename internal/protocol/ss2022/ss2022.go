// Package ss2022 is the codec of Shadowsocks 2022: keys and identity headers, streams and datagrams.
//
// Source: https://github.com/Shadowsocks-NET/shadowsocks-specs: SIP022 (2022-1), SIP023 (2022-2)
package ss2022

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
	"lukechampine.com/blake3"

	"heki/internal/protocol/wire"
)

// Method is a cipher of Shadowsocks 2022. The zero value is none.
type Method uint8

// The methods.
const (
	AES128GCM Method = iota + 1
	AES256GCM
	ChaCha20Poly1305 // has no identity headers, and so one user only
)

// Prefix is how the name of every method begins.
const Prefix = "2022-blake3-"

const (
	// Window is how many seconds a client's clock may be off. Source: SIP022 §3.1.3.
	Window = 30
	// MaxPadding bounds padding in bytes. Source: SIP022 §3.1.3.
	MaxPadding = 900
	// MaxPayload is the most payload of a chunk.
	MaxPayload = 65535
	// MaxKeySize is the longest key, and salt, in bytes: a salt is as long as its key.
	MaxKeySize = 32

	tagSize  = 16
	hashSize = 16
	blockLen = aes.BlockSize

	// Types of headers. Source: SIP022 §3.1.3.
	typeRequest  = 0
	typeResponse = 1
)

// Contexts of BLAKE3's key derivation.
const (
	sessionContext  = "shadowsocks 2022 session subkey"
	identityContext = "shadowsocks 2022 identity subkey"
)

// Errors of what clients send.
var (
	// ErrShort says that the bytes so far are the start of something valid.
	ErrShort = wire.ErrShort
	// ErrRequest is wrapped by the errors of streams that are no requests.
	ErrRequest = fmt.Errorf("%w: no shadowsocks 2022 request", wire.ErrBadRequest)
	// ErrPacket is wrapped by the errors of datagrams that are none of ours.
	ErrPacket = fmt.Errorf("%w: no shadowsocks 2022 datagram", wire.ErrBadRequest)
	// ErrKey is returned for a text that is no key.
	ErrKey = errors.New("is not the base64 of a key")
)

var methodNames = [...]string{
	AES128GCM: Prefix + "aes-128-gcm", AES256GCM: Prefix + "aes-256-gcm", ChaCha20Poly1305: Prefix + "chacha20-poly1305",
}

// ParseMethod finds a method by its name, whatever the case.
func ParseMethod(name string) (Method, bool) {
	name = strings.ToLower(name)
	for m, known := range methodNames {
		if known == name && m > 0 {
			return Method(m), true
		}
	}
	return 0, false
}

// String is the method's name.
func (m Method) String() string { return methodNames[m] }

// KeySize is the length of keys and of salts in bytes: 16 or 32.
func (m Method) KeySize() int {
	if m == AES128GCM {
		return 16
	}
	return 32
}

// MultiUser says whether clients can name themselves with an identity header.
func (m Method) MultiUser() bool { return m != ChaCha20Poly1305 }

// ParseKey decodes a key: standard base64 of exactly KeySize bytes. The error never shows the text.
func ParseKey(m Method, text string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: it must be standard base64 of %d bytes", ErrKey, m.KeySize())
	}
	if len(key) != m.KeySize() {
		return nil, fmt.Errorf("%w: it has %d bytes, must have %d", ErrKey, len(key), m.KeySize())
	}
	return key, nil
}

// Hash is how identity headers name a user: the first half of the BLAKE3 hash of its key.
type Hash [hashSize]byte

// HashOf returns the name of a key.
func HashOf(key []byte) Hash {
	sum := blake3.Sum256(key)
	return Hash(sum[:hashSize])
}

// derive is BLAKE3's derive_key over key and salt, as long as key.
func derive(context string, key, salt []byte) []byte {
	var material [2 * MaxKeySize]byte
	n := copy(material[:], key)
	n += copy(material[n:], salt)
	out := make([]byte, len(key))
	blake3.DeriveKey(out, context, material[:n])
	return out
}

// session is the cipher of a stream with that salt, or of a datagram session with that id.
func (m Method) session(key, salt []byte) cipher.AEAD {
	return m.aead(derive(sessionContext, key, salt))
}

func (m Method) aead(key []byte) cipher.AEAD {
	if m == ChaCha20Poly1305 {
		a, err := chacha20poly1305.New(key)
		if err != nil {
			panic("ss2022: " + err.Error()) // never: key sizes come from KeySize
		}
		return a
	}
	a, err := cipher.NewGCM(newBlock(key))
	if err != nil {
		panic("ss2022: " + err.Error()) // never: AES has blocks of 16 bytes
	}
	return a
}

func newBlock(key []byte) cipher.Block {
	b, err := aes.NewCipher(key)
	if err != nil {
		panic("ss2022: " + err.Error()) // never: key sizes come from KeySize
	}
	return b
}

// Package shadowsocks is the codec of Shadowsocks with AEAD ciphers: keys, the search for the user who
// sent something, streams and datagrams. Shadowsocks 2022 is package ss2022, which shares the streams.
//
// Source: https://shadowsocks.org/doc/aead.html (SIP004)
package shadowsocks

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"encoding/binary"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// Method is an AEAD cipher. The zero value is none.
type Method uint8

// The methods.
const (
	AES128GCM Method = iota + 1
	AES192GCM
	AES256GCM
	ChaCha20Poly1305
	XChaCha20Poly1305
)

// Sizes in bytes.
const (
	TagSize = 16
	// MaxKeySize is the longest key, and salt: a salt is as long as its key.
	MaxKeySize = 32
	// MaxPayload is the most payload of a chunk: 14 bits.
	MaxPayload = 0x3fff

	lengthSize   = 2
	sealedLength = lengthSize + TagSize
	maxNonce     = chacha20poly1305.NonceSizeX
)

var methodNames = [...]string{
	AES128GCM: "aes-128-gcm", AES192GCM: "aes-192-gcm", AES256GCM: "aes-256-gcm",
	ChaCha20Poly1305: "chacha20-ietf-poly1305", XChaCha20Poly1305: "xchacha20-ietf-poly1305",
}

// methodAliases are the other names that panels and clients use.
var methodAliases = map[string]Method{
	"chacha20-poly1305": ChaCha20Poly1305, "xchacha20-poly1305": XChaCha20Poly1305,
	"aead_aes_128_gcm": AES128GCM, "aead_aes_192_gcm": AES192GCM, "aead_aes_256_gcm": AES256GCM,
	"aead_chacha20_poly1305": ChaCha20Poly1305, "aead_xchacha20_poly1305": XChaCha20Poly1305,
}

// ParseMethod finds a method by its name or an alias of it, whatever the case.
func ParseMethod(name string) (Method, bool) {
	name = strings.ToLower(name)
	for m, known := range methodNames {
		if known == name && m > 0 {
			return Method(m), true
		}
	}
	m, ok := methodAliases[name]
	return m, ok
}

// String is the method's usual name.
func (m Method) String() string { return methodNames[m] }

// KeySize is the length of keys and of salts in bytes: 16, 24 or 32.
func (m Method) KeySize() int {
	switch m {
	case AES128GCM:
		return 16
	case AES192GCM:
		return 24
	}
	return 32
}

// block is the block cipher of the AES methods.
func (m Method) block(key []byte) cipher.Block {
	b, err := aes.NewCipher(key)
	if err != nil {
		panic("shadowsocks: " + err.Error()) // never: key sizes come from KeySize
	}
	return b
}

func gcm(b cipher.Block) cipher.AEAD {
	a, err := cipher.NewGCM(b)
	if err != nil {
		panic("shadowsocks: " + err.Error()) // never: AES has blocks of 16 bytes
	}
	return a
}

// aead is the cipher with a subkey.
func (m Method) aead(subkey []byte) cipher.AEAD {
	var a cipher.AEAD
	var err error
	switch m {
	case ChaCha20Poly1305:
		a, err = chacha20poly1305.New(subkey)
	case XChaCha20Poly1305:
		a, err = chacha20poly1305.NewX(subkey)
	default:
		return gcm(m.block(subkey))
	}
	if err != nil {
		panic("shadowsocks: " + err.Error()) // never: key sizes come from KeySize
	}
	return a
}

// Key is a password's key, in the form that is fastest to try. It never changes.
type Key struct {
	size int
	// master is the key as the last block of an HMAC-SHA1 over it, padding included.
	master [blockSize]byte
}

// NewKey derives the key of a password: OpenSSL's EVP_BytesToKey with MD5, one round and no salt.
func NewKey(m Method, password string) *Key {
	k := &Key{size: m.KeySize()}
	var sum []byte
	for n := 0; n < k.size; {
		h := md5.New()
		h.Write(sum)
		h.Write([]byte(password))
		sum = h.Sum(nil)
		n += copy(k.master[n:k.size], sum)
	}
	k.master[k.size] = 0x80
	binary.BigEndian.PutUint64(k.master[blockSize-8:], uint64(blockSize+k.size)*8)
	return k
}

// Bytes is the key itself.
func (k *Key) Bytes() []byte { return k.master[:k.size] }

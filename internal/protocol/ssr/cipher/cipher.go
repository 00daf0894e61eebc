// Package cipher is the layer of ShadowsocksR that encrypts with the key of a port: the old stream
// ciphers, and Shadowsocks' AEAD ones.
//
// Most of them are broken or close to it, and none but the AEAD ones authenticates. They are here
// because clients have them. ssr.md §2 is the source.
package cipher

import (
	"crypto/md5"
	"slices"
)

// Sizes in bytes.
const (
	MaxKey   = 32
	MaxIV    = 32 // an AEAD salt
	tagSize  = 16
	nonceLen = 12
)

// Stream is one direction of a stream cipher. It has a position, and is for one goroutine at a time.
type Stream interface {
	// XOR en- or decrypts src to dst, as long as src and the same or apart.
	XOR(dst, src []byte)
}

// state is a stream that can begin anew without an allocation.
type state interface {
	Stream
	// reset begins anew at iv, which has the method's size.
	reset(iv []byte)
}

// Method is a cipher. The zero value is none of them.
type Method struct {
	Name    string
	KeySize int // bytes
	IVSize  int // bytes of IV, or of salt for AEAD
	AEAD    bool

	stream   func(key []byte, decrypt bool) state
	datagram func(key []byte, decrypt bool) state // nil: as stream
	aead     aeadMaker
}

// methods is every cipher, by name.
var methods = [...]Method{
	{Name: "none", KeySize: 16, stream: newNone},
	{Name: "rc4", KeySize: 16, stream: newRC4},
	{Name: "rc4-md5", KeySize: 16, IVSize: 16, stream: newRC4MD5},
	{Name: "aes-128-cfb", KeySize: 16, IVSize: 16, stream: newAESCFB},
	{Name: "aes-192-cfb", KeySize: 24, IVSize: 16, stream: newAESCFB},
	{Name: "aes-256-cfb", KeySize: 32, IVSize: 16, stream: newAESCFB},
	{Name: "aes-128-ctr", KeySize: 16, IVSize: 16, stream: newAESCTR, datagram: newShortCTR},
	{Name: "aes-192-ctr", KeySize: 24, IVSize: 16, stream: newAESCTR, datagram: newShortCTR},
	{Name: "aes-256-ctr", KeySize: 32, IVSize: 16, stream: newAESCTR, datagram: newShortCTR},
	{Name: "aes-128-ofb", KeySize: 16, IVSize: 16, stream: newAESOFB},
	{Name: "aes-192-ofb", KeySize: 24, IVSize: 16, stream: newAESOFB},
	{Name: "aes-256-ofb", KeySize: 32, IVSize: 16, stream: newAESOFB},
	{Name: "chacha20", KeySize: 32, IVSize: 8, stream: newChaCha},
	{Name: "chacha20-ietf", KeySize: 32, IVSize: 12, stream: newChaCha},
	{Name: "salsa20", KeySize: 32, IVSize: 8, stream: newSalsa},
	{Name: "aes-128-gcm", KeySize: 16, IVSize: 16, AEAD: true, aead: newGCM},
	{Name: "aes-192-gcm", KeySize: 24, IVSize: 24, AEAD: true, aead: newGCM},
	{Name: "aes-256-gcm", KeySize: 32, IVSize: 32, AEAD: true, aead: newGCM},
	{Name: "chacha20-ietf-poly1305", KeySize: 32, IVSize: 32, AEAD: true, aead: newPoly1305},
}

// ByName returns the method of that name.
func ByName(name string) (Method, bool) {
	i := slices.IndexFunc(methods[:], func(m Method) bool { return m.Name == name })
	if i < 0 {
		return Method{}, false
	}
	return methods[i], true
}

// Names returns every method, the stream ciphers first.
func Names() []string {
	names := make([]string, len(methods))
	for i := range methods {
		names[i] = methods[i].Name
	}
	return names
}

// Encrypter returns the sending end of a stream cipher that begins at iv.
func (m *Method) Encrypter(key, iv []byte) Stream { return m.begin(key, iv, false) }

// Decrypter returns the receiving end of a stream cipher that begins at iv.
func (m *Method) Decrypter(key, iv []byte) Stream { return m.begin(key, iv, true) }

func (m *Method) begin(key, iv []byte, decrypt bool) Stream {
	s := m.stream(key, decrypt)
	s.reset(iv)
	return s
}

// Key derives n bytes from text as OpenSSL's EVP_BytesToKey does with MD5, one round and no salt.
func Key(text string, n int) []byte {
	out := make([]byte, 0, n+md5.Size)
	block := append(make([]byte, 0, md5.Size+len(text)), text...)
	for len(out) < n {
		sum := md5.Sum(block)
		out = append(out, sum[:]...)
		block = append(append(block[:0], sum[:]...), text...)
	}
	return out[:n]
}

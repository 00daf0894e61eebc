package ss2022

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"strings"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/shadowsocks"
	"heki/internal/protocol/wire"
)

// maxKeys bounds how many keys a client has: each server on the way costs an identity header.
const maxKeys = 8

// Chain is what a client has: the keys of the servers on the way, each of which finds the next by its
// name, and its own key last. It never changes.
//
// Source: SIP023: iPSK0:iPSK1:…:uPSK.
type Chain struct {
	method Method
	keys   [][]byte
	hashes []Hash         // of all keys but the first
	blocks []cipher.Block // of the servers' keys, for the identity headers of datagrams
}

// NewChain returns the one of keys that fit m. Keys that are nil are left out.
func NewChain(m Method, keys ...[]byte) *Chain {
	c := &Chain{method: m}
	for _, key := range keys {
		if key == nil {
			continue
		}
		if n := len(c.keys); n > 0 {
			c.hashes = append(c.hashes, HashOf(key))
			c.blocks = append(c.blocks, newBlock(c.keys[n-1]))
		}
		c.keys = append(c.keys, key)
	}
	return c
}

// ParseChain decodes keys with ":" between them. The error never shows the text.
func ParseChain(m Method, text string) (*Chain, error) {
	parts := strings.SplitN(text, ":", maxKeys+1)
	switch {
	case len(parts) > maxKeys:
		return nil, fmt.Errorf("%w: there are more than %d of them", ErrKey, maxKeys)
	case len(parts) > 1 && !m.MultiUser():
		return nil, fmt.Errorf("%w: there are %d, and %s has no identity headers", ErrKey, len(parts), m)
	}
	keys := make([][]byte, len(parts))
	for i, part := range parts {
		key, err := ParseKey(m, part)
		if err != nil {
			return nil, fmt.Errorf("key %d of %d %w", i+1, len(parts), err)
		}
		keys[i] = key
	}
	return NewChain(m, keys...), nil
}

// Method is what the keys are of.
func (c *Chain) Method() Method { return c.method }

// PacketKey opens the headers of datagrams from the server.
func (c *Chain) PacketKey() *PacketKey { return NewPacketKey(c.method, c.own(), false) }

// SessionCipher is the cipher of the server's datagrams in a session of its.
func (c *Chain) SessionCipher(k *PacketKey, session uint64) cipher.AEAD {
	return k.SessionCipher(c.own(), session)
}

// own is the key that everything but identity headers is sealed with.
func (c *Chain) own() []byte { return c.keys[len(c.keys)-1] }

// appendHead appends salt and identity headers.
func (c *Chain) appendHead(b, salt []byte) []byte {
	b = append(b, salt...)
	for i, hash := range c.hashes {
		at := len(b)
		b = append(b, hash[:]...)
		newBlock(derive(identityContext, c.keys[i], salt)).Encrypt(b[at:], b[at:])
	}
	return b
}

// sealFixed appends the fixed header to b: what follows has size bytes.
func sealFixed(b []byte, h *shadowsocks.Half, unix int64, size int) []byte {
	at := len(b)
	b = append(b, typeRequest)
	b = binary.BigEndian.AppendUint64(b, uint64(unix))
	b = binary.BigEndian.AppendUint16(b, uint16(size))
	return h.Seal(b[:at], b[at:])
}

// SealRequest appends a whole request to b: what NewClientConn sends. payload goes along; without one
// there has to be padding. It is for those who change what they send.
func SealRequest(b []byte, c *Chain, salt []byte, unix int64, dst M.Socksaddr, padding int, payload []byte) []byte {
	half := shadowsocks.NewHalf(c.method.session(c.own(), salt), MaxPayload)
	variable := AppendVariable(nil, dst, padding, payload)
	b = sealFixed(c.appendHead(b, salt), &half, unix, len(variable))
	return half.Seal(b, variable)
}

// NewClientConn is the client's end on conn to dst. The request goes out with the first write, which may
// be of nothing. salt is random and KeySize bytes long; unix is the clock, in seconds; padding, 1 to
// MaxPadding and random, is how long a first payload looks at least, in bytes. pool may be nil.
func NewClientConn(conn wire.Conn, c *Chain, salt []byte, dst M.Socksaddr, padding int, unix func() int64, pool wire.Pool) *shadowsocks.Conn {
	out := shadowsocks.NewHalf(c.method.session(c.own(), salt), MaxPayload)
	in := &response{method: c.method, key: c.own(), salt: salt, unix: unix}
	return shadowsocks.NewConn(conn, in, out, shadowsocks.Preface{
		Most: len(salt) + len(c.hashes)*blockLen + fixedSize + tagSize,
		Lead: func(payload int) []byte { return AppendVariable(nil, dst, max(padding-payload, 0), nil) },
		Append: func(b []byte, h *shadowsocks.Half, n int) []byte {
			return sealFixed(c.appendHead(b, salt), h, unix(), n)
		},
	}, pool)
}

// response is what a client reads: the first length is in a header that names the request.
//
//	| salt | sealed: type 1, time u64be, salt of the request, length u16be | sealed: payload |
type response struct {
	shadowsocks.Half
	method    Method
	key, salt []byte
	unix      func() int64
	begun     bool
}

// Size implements chunk.Opener.
func (r *response) Size() int {
	if r.begun {
		return r.Half.Size()
	}
	return r.method.KeySize() + responseSize + len(r.salt) + tagSize
}

// Length implements chunk.Opener.
func (r *response) Length(field []byte) (int, error) {
	if r.begun {
		return r.Half.Length(field)
	}
	salt, sealed := field[:r.method.KeySize()], field[r.method.KeySize():]
	r.Half, r.begun = shadowsocks.NewHalf(r.method.session(r.key, salt), MaxPayload), true
	plain, err := r.Open(sealed, sealed)
	if err != nil {
		return 0, err
	}
	at, n := int64(binary.BigEndian.Uint64(plain[1:])), len(plain)
	if plain[0] != typeResponse || !bytes.Equal(plain[9:n-2], r.salt) || !Fresh(at, r.unix()) {
		return 0, fmt.Errorf("%w: the response is another's or an old one", ErrRequest)
	}
	return int(binary.BigEndian.Uint16(plain[n-2:])) + tagSize, nil
}

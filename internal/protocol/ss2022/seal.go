package ss2022

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"io"
	"sync"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire"
)

// Room for SealPacket in bytes, without padding, the address being an IP.
const (
	PacketFront = xnonceSize + headerSize + bodySize + clientSize + 1 + 16 + 2
	PacketRear  = tagSize
)

// Sealer seals the datagrams of one session in one direction. It is for any number of goroutines.
type Sealer struct {
	method   Method
	session  uint64
	client   uint64 // the session that is answered
	response bool
	block    cipher.Block // AES: of the headers
	aead     cipher.AEAD
	names    []Hash         // of the client, where it names itself: to each server on the way
	servers  []cipher.Block // what they are sealed with

	mu   sync.Mutex // guards what follows
	next uint64
	rand io.Reader // nonces
}

// NewSealer answers the client's session with datagrams of session, which is random and another one.
// key is the user's. random is where ChaCha20's nonces come from.
func NewSealer(m Method, key []byte, session, client uint64, random io.Reader) *Sealer {
	k := NewPacketKey(m, key, false)
	return &Sealer{
		method: m, session: session, client: client, response: true,
		block: k.block, aead: k.SessionCipher(key, session), rand: random,
	}
}

// NewClientSealer seals what a client sends in a session, which is random.
func NewClientSealer(c *Chain, session uint64, random io.Reader) *Sealer {
	k := c.PacketKey()
	s := &Sealer{
		method: c.method, session: session, block: k.block, aead: c.SessionCipher(k, session), rand: random,
		names: c.hashes, servers: c.blocks,
	}
	if len(c.blocks) > 0 {
		s.block = c.blocks[0]
	}
	return s
}

// Seal makes a datagram of the payload in b, which it owns: in place where b has the room. addr is
// where the payload comes from, or goes to; unix the clock, in seconds; padding how many bytes of zeros
// hide its length.
func (s *Sealer) Seal(b *buf.Buffer, addr M.Socksaddr, unix int64, padding int) *buf.Buffer {
	front := s.front()
	size := bodySize + padding + address.Size(addr)
	if s.response {
		size += clientSize
	}
	b = wire.Room(b, front+size, tagSize)
	s.putBody(b.ExtendHeader(size), addr, unix, padding)
	plain := b.Bytes()
	s.putHeader(b.ExtendHeader(front), plain)
	b.Extend(tagSize)
	return b
}

// front is what stands before the body.
func (s *Sealer) front() int {
	if s.method == ChaCha20Poly1305 {
		return xnonceSize + headerSize
	}
	return headerSize + len(s.names)*hashSize
}

// putBody writes what ParseBody reads.
func (s *Sealer) putBody(b []byte, addr M.Socksaddr, unix int64, padding int) {
	n := 9
	b[0] = typeRequest
	binary.BigEndian.PutUint64(b[1:], uint64(unix))
	if s.response {
		b[0] = typeResponse
		binary.BigEndian.PutUint64(b[n:], s.client)
		n += clientSize
	}
	binary.BigEndian.PutUint16(b[n:], uint16(padding))
	n += 2
	clear(b[n : n+padding])
	address.AppendS(b[n+padding:n+padding], addr)
}

// putHeader writes the header to front, and seals plain, which begins where that ends.
func (s *Sealer) putHeader(front, plain []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	header := front[len(front)-headerSize:]
	if s.method != ChaCha20Poly1305 {
		header = front[:headerSize]
	}
	binary.BigEndian.PutUint64(header, s.session)
	binary.BigEndian.PutUint64(header[8:], s.next)
	s.next++
	if s.method == ChaCha20Poly1305 {
		nonce := front[:xnonceSize]
		if _, err := io.ReadFull(s.rand, nonce); err != nil {
			panic("ss2022: no random bytes: " + err.Error()) // a nonce twice would give the key away
		}
		whole := front[xnonceSize : len(front)+len(plain)]
		s.aead.Seal(whole[:0], nonce, whole, nil)
		return
	}
	s.aead.Seal(plain[:0], header[nonceOffset:], plain, nil)
	for i := range s.names {
		identity := front[headerSize+i*hashSize:][:hashSize]
		subtle.XORBytes(identity, s.names[i][:], header)
		s.servers[i].Encrypt(identity, identity)
	}
	s.block.Encrypt(header, header)
}

package ssr

import (
	"fmt"
	"io"

	"github.com/sagernet/sing/common/buf"
	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/ssr/protocol"
)

// sourceSize is the address of an answer, an IP.
const sourceSize = 1 + 16 + 2

// Headroom is the room before and behind its payload that a server's datagram wants, in bytes.
func (p *Port) Headroom() (front, rear int) {
	return p.seals.Front() + sourceSize, p.forms.Rear() + p.seals.Rear()
}

// OpenDatagram decodes a client's datagram in place: its payload is the window of b then. who knows the
// users. It returns the number of the user, 0 where the protocol has none.
func (p *Port) OpenDatagram(b *buf.Buffer, who protocol.Lookup) (dst M.Socksaddr, uid uint32, err error) {
	plain, err := p.seals.Open(b.Bytes())
	if err != nil {
		return dst, 0, err
	}
	plain, uid, err = p.forms.OpenClient(plain, who)
	if err != nil {
		return dst, uid, err
	}
	dst, err = p.payload(b, plain)
	return dst, uid, err
}

// payload makes the window of b what follows the address at the start of plain, a part of it.
func (p *Port) payload(b *buf.Buffer, plain []byte) (M.Socksaddr, error) {
	addr, n, err := address.ParseS(plain, "")
	if err != nil {
		return addr, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	b.Advance(p.seals.Front() + n)
	b.Truncate(len(plain) - n)
	return addr, nil
}

// SealDatagram makes a server's datagram of the payload in b, which came from source, for the user with
// that key. b has Headroom. random never fails.
func (p *Port) SealDatagram(b *buf.Buffer, source M.Socksaddr, user []byte, random io.Reader) error {
	return p.seal(b, source, random, func(plain []byte) []byte { return p.forms.AppendServer(plain, user, random) })
}

// SealClientDatagram is the same at the client, for dst.
func (p *Port) SealClientDatagram(b *buf.Buffer, dst M.Socksaddr, uid uint32, user []byte, random io.Reader) error {
	return p.seal(b, dst, random, func(plain []byte) []byte { return p.forms.AppendClient(plain, uid, user, random) })
}

func (p *Port) seal(b *buf.Buffer, addr M.Socksaddr, random io.Reader, form func([]byte) []byte) error {
	size := address.Size(addr)
	if _, rear := p.Headroom(); b.FreeLen() < rear || b.Start() < p.seals.Front()+size {
		return io.ErrShortBuffer
	}
	address.AppendS(b.ExtendHeader(size)[:0], addr)
	plain, room := b.Bytes(), b.FreeLen()-p.seals.Rear()
	formed := form(plain[: len(plain) : len(plain)+room])
	if formed == nil {
		return io.ErrShortBuffer
	}
	b.Extend(len(formed) - len(plain) + p.seals.Rear())
	b.ExtendHeader(p.seals.Front())
	return p.seals.Seal(b.Bytes(), random)
}

// OpenServerDatagram decodes a server's datagram in place, for the user with that key.
func (p *Port) OpenServerDatagram(b *buf.Buffer, user []byte) (M.Socksaddr, error) {
	plain, err := p.seals.Open(b.Bytes())
	if err != nil {
		return M.Socksaddr{}, err
	}
	if plain, err = p.forms.OpenServer(plain, user); err != nil {
		return M.Socksaddr{}, err
	}
	return p.payload(b, plain)
}

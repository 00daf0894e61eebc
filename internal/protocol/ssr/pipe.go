package ssr

import (
	"io"

	"github.com/sagernet/sing/common/buf"

	"heki/internal/protocol/ssr/cipher"
	"heki/internal/protocol/ssr/obfs"
	"heki/internal/protocol/ssr/protocol"
	"heki/internal/protocol/wire"
)

// bufferSize is the buffer of a direction. It has to hold the longest piece of each layer that may be
// there in part: a first packet or frame, 8 KiB, and an AEAD record, 16 KiB.
const bufferSize = 32 << 10

// pipe takes one direction through the layers, in place, in one buffer:
//
//	| payload | decrypted, no whole frame | off the wire, no whole record |
//	          ready                       plain
type pipe struct {
	port    *Port
	pool    wire.Pool
	obfs    obfs.Codec
	stream  cipher.Stream   // one of the two, once the IV is there
	records *cipher.Records //
	iv      []byte
	accept  func(p *pipe) error // a server's, until the client is accepted
	decoder protocol.Decoder
	b       *buf.Buffer // nil when there is nothing in it
	ready   int
	plain   int
	answer  bool // the peer wants a sign of life
}

// feed takes bytes off the wire and returns how many of them it used. With an error, which is final,
// there may be payload.
func (p *pipe) feed(in []byte) (int, error) {
	if p.b == nil {
		p.b = p.pool.Get(bufferSize)
	}
	free := p.b.FreeBytes()
	n, used, err := p.obfs.Decode(free, in[:min(len(in), len(free))])
	p.b.Extend(n)
	if err2 := p.advance(); err2 != nil {
		err = err2
	}
	if p.b.IsEmpty() {
		p.drop()
	}
	return used, err
}

// advance takes what is off the wire as far as it goes.
func (p *pipe) advance() error {
	if p.stream == nil && p.records == nil && !p.begin() {
		return nil
	}
	if err := p.decrypt(); err != nil {
		return err
	}
	if p.accept != nil {
		if err := p.accept(p); err != nil || p.accept != nil {
			return err
		}
	}
	n, used, answer, err := p.decoder.Decode(p.b.From(p.ready)[:p.plain-p.ready])
	p.answer = p.answer || answer
	p.took(n, used)
	return err
}

// took notes that used bytes of what was decrypted are n bytes of payload now.
func (p *pipe) took(n, used int) {
	p.ready += n
	p.cut(p.ready, used-n)
	p.plain -= used - n
}

// cut removes n bytes at at.
func (p *pipe) cut(at, n int) {
	if n == 0 {
		return
	}
	rest := p.b.From(at)
	copy(rest, rest[n:])
	p.b.Truncate(p.b.Len() - n)
}

// begin takes the IV off, once it is there.
func (p *pipe) begin() bool {
	n := p.port.method.IVSize
	if p.b.Len() < n {
		return false
	}
	p.iv = append([]byte(nil), p.b.To(n)...)
	p.cut(0, n)
	if p.port.method.AEAD {
		p.records = p.port.method.Records(p.port.key, p.iv)
	} else {
		p.stream = p.port.method.Decrypter(p.port.key, p.iv)
	}
	return true
}

// decrypt takes what is off the wire through the cipher.
func (p *pipe) decrypt() error {
	sealed := p.b.From(p.plain)
	if p.stream != nil {
		p.stream.XOR(sealed, sealed)
		p.plain += len(sealed)
		return nil
	}
	n, used, err := p.records.Open(sealed)
	p.plain += n
	p.cut(p.plain, used-n)
	return err
}

// take returns the payload that is ready, the caller's, or nil. What is there in part stays.
func (p *pipe) take() *buf.Buffer {
	if p.ready == 0 {
		return nil
	}
	out := p.b
	p.b = nil
	if rest := out.From(p.ready); len(rest) > 0 {
		p.b = p.pool.Get(bufferSize)
		_, _ = p.b.Write(rest) // fits: it came out of such a buffer
		out.Truncate(p.ready)
	}
	p.plain -= p.ready
	p.ready = 0
	return wire.Filled(out)
}

// partial says that the end of the stream would be in the middle of something.
func (p *pipe) partial() bool { return p.b != nil }

// drop gives the buffer back.
func (p *pipe) drop() {
	if p.b != nil {
		wire.Give(p.pool, p.b)
		p.b, p.ready, p.plain = nil, 0, 0
	}
}

// end turns the end of the stream into an error where it is in the middle of something.
func (p *pipe) end(err error) error {
	if err == io.EOF && p.partial() {
		return io.ErrUnexpectedEOF
	}
	return err
}

package ssr

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/ssr/obfs"
	"heki/internal/protocol/ssr/protocol"
	"heki/internal/protocol/wire"
)

// MaxBeginning is the most that a client may say in bytes before it is known who it is.
const MaxBeginning = obfs.MaxHello + protocol.MaxFirst

// ErrBeginning says that a client said too much before it was known who it is.
var ErrBeginning = errors.New("too long a beginning")

// Authority knows the users of a port. A Handshake asks it in the order of its methods.
type Authority interface {
	obfs.Gate
	// UserKey returns the key of a user, by Port.UserKey, or the port's key where users are not told
	// apart by number.
	UserKey(uid uint32) ([]byte, bool)
	// Admit decides about a client who is authentic: time, replay, devices. For protocols that say
	// nothing of it, h is nil. An error refuses it.
	Admit(h *protocol.Head) error
}

// Handshake reads the beginning of a client's stream.
type Handshake struct {
	pipe      pipe
	authority Authority
	random    io.Reader
	mss       int
	fed       int // raw bytes that are done with
	encoder   protocol.Encoder
	greet     bool // an empty frame goes out at once
	greeted   bool // something went out

	// Destination is set once Push is done.
	Destination M.Socksaddr
	// Packets says that the stream carries datagrams, each with a destination of its own.
	Packets bool
}

// Handshake begins with a client. mss is of its connection, 0 when unknown. seed is random, for
// padding and IVs. pool may be nil.
func (p *Port) Handshake(a Authority, mss int, seed [32]byte, pool wire.Pool) *Handshake {
	if pool == nil {
		pool = new(wire.SingPool)
	}
	h := &Handshake{authority: a, mss: mss, random: rand.NewChaCha8(seed)}
	h.pipe = pipe{port: p, pool: pool, obfs: p.obfs.Accept(a, h.random), accept: h.accept}
	return h
}

// Push looks at raw, all that the client has said so far, of which it consumes nothing. It reports
// whether the client is known and its destination read; until then more is needed. Every error is
// final.
func (h *Handshake) Push(raw []byte) (done bool, err error) {
	for h.fed < len(raw) {
		used, err := h.pipe.feed(raw[h.fed:])
		h.fed += used
		if err != nil {
			return false, err
		}
		if used == 0 {
			break
		}
	}
	if done, err = h.request(); done || err != nil {
		return done, err
	}
	if len(raw) >= MaxBeginning {
		return false, ErrBeginning
	}
	return false, nil
}

// Greeting returns what has to go out before the client goes on, in one write, or nil.
func (h *Handshake) Greeting() []byte {
	b := h.pipe.obfs.Greeting()
	h.greeted = h.greeted || b != nil
	return b
}

// Greeted says that the client had an answer already: nobody else can take the stream over.
func (h *Handshake) Greeted() bool { return h.greeted }

// accept finds out who the client is.
func (h *Handshake) accept(p *pipe) error {
	b := p.b.From(p.ready)[:p.plain-p.ready]
	s := protocol.Session{IV: p.iv, MSS: h.mss, Rand: h.random}
	a, err := p.port.protocol.Accept(s, b, h.authority.UserKey)
	if errors.Is(err, wire.ErrShort) {
		return nil
	}
	if err != nil {
		return err
	}
	var head *protocol.Head
	if a.Known {
		head = &a.Head
	}
	if err := h.authority.Admit(head); err != nil {
		return err
	}
	p.accept, p.decoder = nil, a.Decoder
	h.encoder, h.greet = a.Encoder, a.Answer
	p.took(a.Payload, a.Used)
	return nil
}

// request reads the destination off the payload.
func (h *Handshake) request() (bool, error) {
	p := &h.pipe
	if p.accept != nil || p.ready == 0 {
		return false, nil
	}
	addr, n, packets, err := parseAddress(p.b.To(p.ready), "")
	if errors.Is(err, wire.ErrShort) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	h.Destination, h.Packets = addr, packets
	p.b.Advance(n)
	p.ready -= n
	p.plain -= n
	if p.b.IsEmpty() {
		p.drop()
	}
	return true, nil
}

// Known says that the client is authentic and was admitted.
func (h *Handshake) Known() bool { return h.pipe.accept == nil }

// Conn returns the stream behind the beginning, on conn, which Push has seen the bytes of; they are
// consumed. It sends what the client waits for. Closing it closes conn. The Handshake ends with it.
func (h *Handshake) Conn(conn wire.Conn) (*Conn, error) {
	if _, err := conn.Discard(h.fed); err != nil {
		h.Drop()
		return nil, err
	}
	c := newConn(conn, h.pipe)
	h.pipe.b = nil
	c.w = writer{
		inner: conn, port: c.r.port, pool: c.r.pool, obfs: c.r.obfs, encoder: h.encoder, random: h.random,
	}
	if !h.greet {
		return c, nil
	}
	c.r.answer = false
	if err := c.w.ping(); err != nil {
		c.Drop()
		return nil, fmt.Errorf("answer: %w", err)
	}
	return c, nil
}

// Drop gives up the beginning of a client that is not served.
func (h *Handshake) Drop() { h.pipe.drop() }

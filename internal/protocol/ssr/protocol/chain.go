package protocol

import (
	"crypto/md5"
	"encoding/binary"
	"io"

	"heki/internal/protocol/ssr/cipher"
	"heki/internal/protocol/wire"
)

// Sizes in bytes of auth_chain (ssr.md §7).
const (
	chainPrefix = 12 // random 4, MAC 8
	chainHead   = chainPrefix + 4 + sealedSize + 4
	chainFrame  = 2 + 2 // length, MAC
	chainMost   = 4096  // data and padding of a frame, exclusive
	chainPad    = 1440  // padding of a frame, at most
	overheadMax = 200   // believable overhead of a client
)

func chainSpec(name string, pads func(key []byte, interval int, utc uint32) padder) Spec {
	c := chain(name)
	return Spec{
		Name: name, Overhead: 4, Users: true, padder: pads,
		userKey: func(password string) []byte { return []byte(password) },
		accept:  c.accept, client: c.client, datagram: chainDatagram,
	}
}

// chain is one of auth_chain_a to f, by its name, which is its salt.
type chain string

// padderAt returns the padder of a client whose time is utc.
func (p *Port) padderAt(utc uint32) padder {
	if p.padder != nil {
		return p.padder
	}
	return p.spec.padder(p.key, p.interval, utc)
}

// accept reads the auth head, which frames follow:
//
//	| random 4 | MAC(IV|KEY) 8 | uid 4 | E 16 | MAC(UK) 4 |
func (c chain) accept(p *Port, s Session, b []byte, who Lookup) (Accepted, error) {
	if len(b) < chainPrefix {
		return Accepted{}, wire.ErrShort
	}
	m := newMAC(md5.New, nil)
	up := [16]byte(m.sum(portKey(p, s), b[:4]))
	if !same(b[4:chainPrefix], up[:]) {
		return Accepted{}, ErrAuth
	}
	if len(b) < chainHead {
		return Accepted{}, wire.ErrShort
	}
	uid := binary.LittleEndian.Uint32(b[chainPrefix:]) ^ binary.LittleEndian.Uint32(up[8:])
	user, ok := who(uid)
	if !ok {
		return Accepted{}, ErrUser
	}
	m.setUser(user)
	down := [16]byte(m.user(b[chainPrefix : chainHead-4]))
	if !same(b[chainHead-4:chainHead], down[:]) {
		return Accepted{}, ErrAuth
	}
	var e secret
	e.open(b[chainPrefix+4:], user, string(c))
	pads := p.padderAt(e.utc)
	key, _ := derive(nil, user, up[:], true)
	enc := &chainEncoder{chainState: newChainState(key, user, down, pads, p.overhead), random: s.Rand}
	enc.mss = s.mss()
	enc.unit = enc.mss - min(int(e.c), overheadMax)
	return Accepted{
		Head:  Head{UID: uid, UTC: e.utc, ClientID: e.client, ConnID: e.conn},
		Known: true, Used: chainHead, Answer: true,
		Decoder: &chainDecoder{chainState: newChainState(key, user, up, pads, p.overhead)},
		Encoder: enc,
	}, nil
}

func (c chain) client(p *Port, s Session, id Identity) (Encoder, Decoder) {
	m := newMAC(md5.New, id.Key)
	head := fill(s.Rand, make([]byte, 0, chainHead), 4)
	up := [16]byte(m.sum(portKey(p, s), head))
	head = append(head, up[:8]...)
	head = binary.LittleEndian.AppendUint32(head, id.UID^binary.LittleEndian.Uint32(up[8:]))
	e := secret{utc: id.UTC, client: id.ClientID, conn: id.ConnID, c: uint16(p.overhead)}
	head = e.append(head, id.Key, string(c))
	down := [16]byte(m.user(head[chainPrefix:]))
	head = append(head, down[:4]...)
	pads := p.padderAt(id.UTC)
	key, _ := derive(nil, id.Key, up[:], true)
	enc := &chainEncoder{
		chainState: newChainState(key, id.Key, up, pads, p.overhead),
		random:     s.Rand, unit: s.mss() - p.overhead, head: head,
	}
	return enc, &chainDecoder{chainState: newChainState(key, id.Key, down, pads, p.overhead), strip: 2}
}

// chainState is one direction.
type chainState struct {
	rc4      cipher.RC4
	mac      *mac
	last     [16]byte // hash of the frame before
	id       uint32
	pads     padder
	overhead int
}

func newChainState(key [md5.Size]byte, user []byte, last [16]byte, pads padder, overhead int) chainState {
	s := chainState{mac: newMAC(md5.New, user), last: last, id: 1, pads: pads, overhead: overhead}
	s.rc4.SetKey(key[:])
	return s
}

// place is where the data of a frame begins in its padding.
func place(r *rng, n, pad int) int {
	if n == 0 || pad == 0 {
		return 0
	}
	return r.pick(pad)
}

// done goes on to the next frame after one with that hash.
func (s *chainState) done(hash []byte) {
	s.last = [16]byte(hash)
	s.id++
}

// chainDecoder reads
//
//	| n 2, masked | padding around n bytes of RC4 | MAC(UK|id) 2 |
type chainDecoder struct {
	chainState
	strip int // bytes of the first frame that are not payload
}

// Decode implements Decoder.
func (d *chainDecoder) Decode(b []byte) (payload, used int, answer bool, err error) {
	for {
		rest := b[used:]
		if len(rest) < 2 {
			return payload, used, answer, nil
		}
		n := int(binary.LittleEndian.Uint16(rest) ^ binary.LittleEndian.Uint16(d.last[14:]))
		if n >= chainMost {
			return payload, used, answer, badFrame("%d has %d bytes of data", d.id, n)
		}
		pad, r := d.pads.pad(d.last, n, d.overhead)
		total, err := d.whole(rest, n, &pad, &r)
		if total == 0 || err != nil {
			return payload, used, answer, err
		}
		m, err := d.take(b[payload:], rest[2:2+n+pad], n, place(&r, n, pad))
		if err != nil {
			return payload, used, answer, err
		}
		answer = answer || n == 0
		payload += m
		used += total
	}
}

// whole checks the frame at the start of b and returns its length, or 0 while it is not whole. Where
// clients differ about the padding it finds out what was meant.
func (d *chainDecoder) whole(b []byte, n int, pad *int, r *rng) (int, error) {
	if n+*pad >= chainMost {
		return 0, badFrame("%d has %d bytes", d.id, n+*pad)
	}
	total := n + *pad + chainFrame
	if len(b) < total {
		return 0, nil
	}
	hash := d.mac.frame(d.id, b[:total-2])
	if same(b[total-2:total], hash) {
		d.done(hash)
		return total, nil
	}
	c, ok := d.pads.(padderC)
	if !ok || n != disputed {
		return 0, badFrame("%d is not authentic", d.id)
	}
	*pad, *r = c.padOther(d.last, n, d.overhead)
	total = n + *pad + chainFrame
	if len(b) < total {
		return 0, nil
	}
	hash = d.mac.frame(d.id, b[:total-2])
	if !same(b[total-2:total], hash) {
		return 0, badFrame("%d is not authentic", d.id)
	}
	d.done(hash)
	return total, nil
}

// take decrypts n bytes of body from at on to dst, which may begin before body.
func (d *chainDecoder) take(dst, body []byte, n, at int) (int, error) {
	d.rc4.XOR(dst[:n], body[at:at+n])
	if d.strip == 0 {
		return n, nil
	}
	strip := d.strip
	d.strip = 0
	if n < strip {
		return 0, badFrame("the first has %d bytes of data", n)
	}
	return copy(dst, dst[strip:n]), nil
}

// chainEncoder makes what chainDecoder reads.
type chainEncoder struct {
	chainState
	random io.Reader
	unit   int    // data of a frame
	mss    int    // told in the first frame; 0: it was, or is a server's to tell
	head   []byte // of a client's first frame; nil once it is out
	first  [2]byte
}

// Most implements Encoder.
func (e *chainEncoder) Most(n int) int {
	lead := 0
	if e.mss != 0 {
		lead = len(e.first)
	}
	most := min(n+lead, e.unit)
	if c, ok := e.pads.(padderC); ok {
		most = c.most(most, e.overhead)
	}
	return most - lead
}

// Extra implements Encoder.
func (e *chainEncoder) Extra(int) int { return chainHead + chainFrame + 2 + chainPad }

// Append implements Encoder.
func (e *chainEncoder) Append(dst, p []byte) []byte {
	dst = append(dst, e.head...)
	e.head = nil
	var lead []byte
	if e.mss != 0 {
		binary.LittleEndian.PutUint16(e.first[:], uint16(e.mss))
		lead, e.mss = e.first[:], 0
	}
	n, at := len(lead)+len(p), len(dst)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(n)^binary.LittleEndian.Uint16(e.last[14:]))
	pad, r := e.pads.pad(e.last, n, e.overhead)
	before := place(&r, n, pad)
	if n == 0 {
		before = pad
	}
	dst = fill(e.random, dst, before)
	start := len(dst)
	dst = append(append(dst, lead...), p...)
	e.rc4.XOR(dst[start:], dst[start:])
	dst = fill(e.random, dst, pad-before)
	hash := e.mac.frame(e.id, dst[at:])
	dst = append(dst, hash[:2]...)
	e.done(hash)
	return dst
}

package sniff

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
)

// A version of QUIC is told by its number; what differs in an Initial packet is below.
type quicVersion struct {
	salt    string
	label   string // before "key", "iv" and "hp"
	initial byte   // packet type bits of Initial
}

// quicVersionOf knows version 1 (RFC 9001 §5.2), draft 29 and version 2 (RFC 9369 §3).
func quicVersionOf(number uint32) (quicVersion, bool) {
	switch number {
	case 1:
		return quicVersion{"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a", "quic ", 0}, true
	case 0xff00001d:
		return quicVersion{"\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99", "quic ", 0}, true
	case 0x6b3343cf:
		return quicVersion{"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9", "quicv2 ", 1}, true
	}
	return quicVersion{}, false
}

const (
	maxConnectionID = 20 // RFC 9000 §17.2
	sampleSize      = 16
	maxFragments    = 64 // gaps in the CRYPTO stream; Chrome makes about ten
)

// quicInitial opens a client's Initial packets and puts its ClientHello together. The keys come from
// the first destination connection id, so anyone can.
type quicInitial struct {
	number  uint32
	version quicVersion
	aead    cipher.AEAD
	iv      []byte
	header  cipher.Block // header protection
	hello   fragments
	scratch []byte
	closed  bool // CONNECTION_CLOSE or frames that do not belong here
}

// newQUICInitial returns nil, false unless datagram b starts with an Initial packet that opens.
func newQUICInitial(b []byte) (*quicInitial, bool) {
	pkt, _, ok := parseLong(b)
	if !ok || !pkt.initial {
		return nil, false
	}
	q := &quicInitial{number: pkt.number, version: pkt.version}
	if err := q.derive(pkt.dcid); err != nil {
		return nil, false
	}
	if _, ok := q.open(pkt); !ok {
		return nil, false
	}
	return q, true
}

// derive sets the keys of the client's Initial packets.
func (q *quicInitial) derive(dcid []byte) error {
	key, iv, hp, err := clientKeys(q.version, dcid)
	if err != nil {
		return err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	if q.aead, err = cipher.NewGCM(block); err != nil {
		return err
	}
	q.iv = iv
	q.header, err = aes.NewCipher(hp)
	return err
}

// clientKeys derives what protects the client's Initial packets (RFC 9001 §5.2).
func clientKeys(v quicVersion, dcid []byte) (key, iv, hp []byte, err error) {
	initial, err := hkdf.Extract(sha256.New, dcid, []byte(v.salt))
	if err != nil {
		return nil, nil, nil, err
	}
	client, err := expandLabel(initial, "client in", sha256.Size)
	if err != nil {
		return nil, nil, nil, err
	}
	key, err1 := expandLabel(client, v.label+"key", 16)
	iv, err2 := expandLabel(client, v.label+"iv", 12)
	hp, err3 := expandLabel(client, v.label+"hp", 16)
	return key, iv, hp, errors.Join(err1, err2, err3)
}

// expandLabel is HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
func expandLabel(secret []byte, label string, size int) ([]byte, error) {
	label = "tls13 " + label
	info := []byte{0, byte(size), byte(len(label))}
	info = append(append(info, label...), 0)
	return hkdf.Expand(sha256.New, secret, string(info), size)
}

// feed opens every Initial packet of a datagram. done means that no other datagram is needed.
func (q *quicInitial) feed(b []byte) (domain string, done bool) {
	for len(b) > 0 && !q.closed {
		pkt, rest, ok := parseLong(b)
		if !ok {
			break // a short header, or noise behind the packets
		}
		b = rest
		if !pkt.initial || pkt.number != q.number {
			continue
		}
		if payload, ok := q.open(pkt); ok && !q.frames(payload) {
			q.closed = true
		}
	}
	hello, err := handshakeHello(q.hello.contiguous())
	if err == nil {
		domain, _ = serverName(hello)
		return domain, true
	}
	return "", q.closed || !errors.Is(err, ErrMore)
}

// longPacket is one packet with a long header (RFC 9000 §17.2).
type longPacket struct {
	number   uint32
	version  quicVersion
	initial  bool
	dcid     []byte
	raw      []byte // from the first byte to the end of the payload
	pnOffset int    // where the packet number starts
}

// parseLong reads the packet at the start of b and returns what follows it.
//
//	| 1 f tt xxxx | version 4 | dcid len 1, dcid | scid len 1, scid | Initial: token len, token | length | number, payload |
func parseLong(b []byte) (pkt longPacket, rest []byte, ok bool) {
	if len(b) < 5 || b[0]&0x80 == 0 { // the next bit may be greased: RFC 9287
		return pkt, nil, false
	}
	pkt.number = binary.BigEndian.Uint32(b[1:])
	if pkt.version, ok = quicVersionOf(pkt.number); !ok {
		return pkt, nil, false
	}
	kind := b[0] >> 4 & 3
	pkt.initial = kind == pkt.version.initial
	if kind == (pkt.version.initial+3)%4 { // Retry has no length, and no client sends it
		return pkt, nil, false
	}
	r := reader{b: b[5:]}
	dcid := r.length(1)
	pkt.dcid = r.take(dcid)
	scid := r.length(1)
	r.take(scid)
	if dcid > maxConnectionID || scid > maxConnectionID {
		return pkt, nil, false
	}
	if pkt.initial {
		token := r.varint()
		if token > uint64(len(r.b)) {
			return pkt, nil, false
		}
		r.take(int(token))
	}
	size := r.varint()
	if r.bad || size < 4+sampleSize || size > uint64(len(r.b)) {
		return pkt, nil, false
	}
	pkt.pnOffset = len(b) - len(r.b)
	end := pkt.pnOffset + int(size)
	pkt.raw = b[:end]
	return pkt, b[end:], true
}

// open removes the protection of an Initial packet (RFC 9001 §5.4). The payload is valid until the
// next call.
func (q *quicInitial) open(pkt longPacket) (payload []byte, ok bool) {
	q.scratch = append(q.scratch[:0], pkt.raw...)
	raw := q.scratch
	var mask [aes.BlockSize]byte
	q.header.Encrypt(mask[:], raw[pkt.pnOffset+4:pkt.pnOffset+4+sampleSize])
	raw[0] ^= mask[0] & 0x0f
	size := int(raw[0]&3) + 1
	number := raw[pkt.pnOffset : pkt.pnOffset+size]
	var nonce [12]byte
	copy(nonce[:], q.iv)
	for i := range number {
		number[i] ^= mask[1+i]
		nonce[len(nonce)-size+i] ^= number[i]
	}
	head := pkt.pnOffset + size
	payload, err := q.aead.Open(raw[head:head], nonce[:], raw[head:], raw[:head])
	return payload, err == nil
}

// frames collects CRYPTO frames; false means that no hello will come (RFC 9000 §12.4, table 3).
func (q *quicInitial) frames(b []byte) bool {
	r := reader{b: b}
	for len(r.b) > 0 && !r.bad {
		switch kind := r.varint(); kind {
		case 0, 1: // PADDING, PING
		case 2, 3: // ACK
			r.varint() // largest
			r.varint() // delay
			ranges := r.varint()
			r.varint()
			for ; ranges > 0 && !r.bad; ranges-- {
				r.varint()
				r.varint()
			}
			if kind == 3 { // ECN counts
				r.varint()
				r.varint()
				r.varint()
			}
		case 6: // CRYPTO
			offset, size := r.varint(), r.varint()
			if r.bad || size > uint64(len(r.b)) || !q.hello.add(offset, r.take(int(size))) {
				return false
			}
		default:
			return false
		}
	}
	return !r.bad
}

// fragments puts a stream together from pieces in any order.
type fragments struct {
	buf  []byte
	have []span // sorted, apart from each other
}

type span struct{ from, to int }

// add copies data to its offset; false means that it lies outside the bounds.
func (f *fragments) add(offset uint64, data []byte) bool {
	const most = 4 + maxHello
	if offset > most || offset+uint64(len(data)) > most {
		return false
	}
	at := span{int(offset), int(offset) + len(data)}
	if len(data) == 0 {
		return true
	}
	if at.to > len(f.buf) {
		f.buf = append(f.buf, make([]byte, at.to-len(f.buf))...)
	}
	copy(f.buf[at.from:], data)
	i := 0
	for i < len(f.have) && f.have[i].to < at.from {
		i++
	}
	j := i
	for ; j < len(f.have) && f.have[j].from <= at.to; j++ {
		at = span{min(at.from, f.have[j].from), max(at.to, f.have[j].to)}
	}
	f.have = slices.Replace(f.have, i, j, at)
	return len(f.have) <= maxFragments
}

// contiguous returns the stream from its start up to the first gap.
func (f *fragments) contiguous() []byte {
	if len(f.have) == 0 || f.have[0].from != 0 {
		return nil
	}
	return f.buf[:f.have[0].to]
}

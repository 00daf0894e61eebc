package protocol

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"crypto/sha1"
	"encoding/binary"
	"hash"
	"io"

	"heki/internal/protocol/wire"
)

// Sizes in bytes of auth_aes128 (ssr.md §6).
const (
	aesPrefix   = 7                              // random 1, MAC 6
	aesHead     = aesPrefix + 4 + sealedSize + 4 // what precedes the padding of the first packet
	aesTail     = 4
	aesMinFrame = 4 + 1 + aesTail
	aesMaxFrame = 8192 // exclusive
	aesMaxData  = 8100 // of the reference
)

// aes128 is what auth_aes128_md5 and auth_aes128_sha1 differ in.
type aes128 struct {
	name    string
	hash    func() hash.Hash
	userKey func(password string) []byte
}

var (
	aes128MD5 = aes128{"auth_aes128_md5", md5.New, func(password string) []byte {
		sum := md5.Sum([]byte(password))
		return sum[:]
	}}
	aes128SHA1 = aes128{"auth_aes128_sha1", sha1.New, func(password string) []byte {
		sum := sha1.Sum([]byte(password))
		return sum[:]
	}}
)

func aes128Spec(a *aes128) Spec {
	return Spec{
		Name: a.name, Overhead: 9, Users: true,
		userKey: a.userKey, accept: a.accept, client: a.client, datagram: a.datagram,
	}
}

func newAES(key [md5.Size]byte) cipher.Block {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("ssr: " + err.Error()) // never: the key has 16 bytes
	}
	return block
}

// portKey is the key of the first MACs: the client's IV, then the port's key.
func portKey(p *Port, s Session) []byte {
	return append(append(make([]byte, 0, len(s.IV)+len(p.key)), s.IV...), p.key...)
}

// accept reads the first packet:
//
//	| random 1 | MAC(IV|KEY) 6 | uid 4 | E 16 | MAC(IV|KEY) 4 | padding R | payload | MAC(UK) 4 |
func (a *aes128) accept(p *Port, s Session, b []byte, who Lookup) (Accepted, error) {
	if len(b) < aesPrefix {
		return Accepted{}, wire.ErrShort
	}
	m, port := newMAC(a.hash, nil), portKey(p, s)
	if !same(b[1:aesPrefix], m.sum(port, b[:1])) {
		return Accepted{}, ErrAuth
	}
	if len(b) < aesHead {
		return Accepted{}, wire.ErrShort
	}
	if !same(b[aesHead-4:aesHead], m.sum(port, b[aesPrefix:aesHead-4])) {
		return Accepted{}, ErrAuth
	}
	uid := binary.LittleEndian.Uint32(b[aesPrefix:])
	user, ok := who(uid)
	if !ok {
		return Accepted{}, ErrUser
	}
	var e secret
	e.open(b[aesPrefix+4:], user, a.name)
	total, pad := int(e.c), int(e.d)
	if total > MaxFirst || total < aesHead+pad+aesTail {
		return Accepted{}, ErrAuth
	}
	if len(b) < total {
		return Accepted{}, wire.ErrShort
	}
	m.setUser(user)
	if !same(b[total-aesTail:total], m.user(b[:total-aesTail])) {
		return Accepted{}, ErrAuth
	}
	return Accepted{
		Head:  Head{UID: uid, UTC: e.utc, ClientID: e.client, ConnID: e.conn},
		Known: true, Used: total, Answer: true,
		Payload: copy(b, b[aesHead+pad:total-aesTail]),
		Decoder: &aesDecoder{mac: m, id: 1},
		Encoder: &aesEncoder{mac: newMAC(a.hash, user), id: 1, random: s.Rand, mss: s.mss()},
	}, nil
}

func (a *aes128) client(p *Port, s Session, id Identity) (Encoder, Decoder) {
	enc := &aesEncoder{mac: newMAC(a.hash, id.Key), id: 1, random: s.Rand, mss: s.mss()}
	enc.first = func(dst, p1 []byte, pad int) []byte { return a.appendFirst(dst, p1, pad, portKey(p, s), id, enc) }
	return enc, &aesDecoder{mac: newMAC(a.hash, id.Key), id: 1}
}

// appendFirst appends the first packet of a client, with pad bytes of padding.
func (a *aes128) appendFirst(dst, payload []byte, pad int, port []byte, id Identity, enc *aesEncoder) []byte {
	at := len(dst)
	total := aesHead + pad + len(payload) + aesTail
	dst = enc.fill(dst, 1)
	dst = append(dst, enc.mac.sum(port, dst[at:at+1])[:6]...)
	dst = binary.LittleEndian.AppendUint32(dst, id.UID)
	e := secret{utc: id.UTC, client: id.ClientID, conn: id.ConnID, c: uint16(total), d: uint16(pad)}
	dst = e.append(dst, id.Key, a.name)
	dst = append(dst, enc.mac.sum(port, dst[at+aesPrefix:])[:4]...)
	dst = enc.fill(dst, pad)
	dst = append(dst, payload...)
	return append(dst, enc.mac.user(dst[at:])[:aesTail]...)
}

// aesDecoder reads
//
//	| L 2 | MAC(UK|id) 2 | padding section 1.. | data | MAC(UK|id) 4 |
type aesDecoder struct {
	mac *mac
	id  uint32
}

// Decode implements Decoder.
func (d *aesDecoder) Decode(b []byte) (payload, used int, answer bool, err error) {
	for {
		rest := b[used:]
		if len(rest) < 4 {
			return payload, used, answer, nil
		}
		if !same(rest[2:4], d.mac.frame(d.id, rest[:2])) {
			return payload, used, answer, badFrame("length of %d is not authentic", d.id)
		}
		total := int(binary.LittleEndian.Uint16(rest))
		if total < aesMinFrame || total >= aesMaxFrame {
			return payload, used, answer, badFrame("%d bytes long", total)
		}
		if len(rest) < total {
			return payload, used, answer, nil
		}
		if !same(rest[total-aesTail:total], d.mac.frame(d.id, rest[:total-aesTail])) {
			return payload, used, answer, badFrame("%d is not authentic", d.id)
		}
		section := int(rest[4])
		if section == 255 {
			section = int(binary.LittleEndian.Uint16(rest[5:]))
		}
		if section < 1 || 4+section > total-aesTail {
			return payload, used, answer, badFrame("padding of %d in %d bytes", section, total)
		}
		n := copy(b[payload:], rest[4+section:total-aesTail])
		answer = answer || n == 0
		payload += n
		used += total
		d.id++
	}
}

// aesEncoder makes what aesDecoder reads.
type aesEncoder struct {
	mac    *mac
	id     uint32
	random io.Reader
	mss    int
	first  func(dst, p []byte, pad int) []byte // a client's first packet; nil once it is out
	word   [2]byte
}

// Most implements Encoder.
func (e *aesEncoder) Most(n int) int {
	if e.first != nil {
		return min(n, 1200) // a first packet as long as others
	}
	return min(n, aesMaxData)
}

// Extra implements Encoder.
func (e *aesEncoder) Extra(n int) int {
	if n >= e.mss {
		return aesHead + aesTail + 1
	}
	return aesHead + aesTail + max(e.mss-n, 1)
}

// Append implements Encoder.
func (e *aesEncoder) Append(dst, p []byte) []byte {
	pad := e.pad(len(p))
	if e.first != nil {
		dst = e.first(dst, p, pad)
		e.first = nil
		return dst
	}
	return e.appendFrame(dst, p, pad)
}

// appendFrame appends p with a padding section of pad bytes, at least 1.
func (e *aesEncoder) appendFrame(dst, p []byte, pad int) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(4+pad+len(p)+aesTail))
	dst = append(dst, e.mac.frame(e.id, dst[at:])[:2]...)
	if pad <= 128 {
		dst = append(dst, byte(pad))
		dst = e.fill(dst, pad-1)
	} else {
		dst = append(dst, 255)
		dst = binary.LittleEndian.AppendUint16(dst, uint16(pad))
		dst = e.fill(dst, pad-3)
	}
	dst = append(dst, p...)
	dst = append(dst, e.mac.frame(e.id, dst[at:])[:aesTail]...)
	e.id++
	return dst
}

// pad chooses how long the padding section of n bytes is: nothing much for bulk, up to a segment for
// little. The reference's is skewed; any length is right.
func (e *aesEncoder) pad(n int) int {
	room := e.mss - n - 9
	if room <= 1 {
		return 1
	}
	_, _ = io.ReadFull(e.random, e.word[:]) // never fails, by Session
	r := int(binary.LittleEndian.Uint16(e.word[:]))
	if n > 900 {
		return 1 + r%room
	}
	return 1 + (r>>8)*(r&0xff)*room/(256*256) // the product of two is small more often
}

// fill appends n random bytes.
func (e *aesEncoder) fill(dst []byte, n int) []byte { return fill(e.random, dst, n) }

func fill(random io.Reader, dst []byte, n int) []byte {
	at := len(dst)
	if cap(dst)-at >= n {
		dst = dst[:at+n]
	} else {
		dst = append(dst, make([]byte, n)...)
	}
	_, _ = io.ReadFull(random, dst[at:])
	return dst
}

package protocol

import (
	"crypto/md5"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"sync"

	"heki/internal/protocol/ssr/cipher"
)

// ErrDatagram says that a datagram is not authentic, or too short to be one.
var ErrDatagram = errors.New("bad datagram")

// datagram is the form that a protocol gives datagrams. Nothing in it is kept from one to the next.
type datagram interface {
	rear() int
	appendClient(x *scratch, b []byte, uid uint32, user []byte, random io.Reader) []byte
	appendServer(x *scratch, b, user []byte, random io.Reader) []byte
	openClient(x *scratch, b []byte, who Lookup) ([]byte, uint32, error)
	openServer(x *scratch, b, user []byte) ([]byte, error)
}

// scratch is what one datagram needs for a moment.
type scratch struct {
	mac  *mac
	rc4  cipher.RC4
	text []byte
	d    [md5.Size]byte
}

// Datagrams en- and decodes the datagrams of a port. It is for any number of goroutines.
type Datagrams struct {
	form datagram
	pool sync.Pool
}

// Datagrams returns the datagrams of the port.
func (p *Port) Datagrams() *Datagrams {
	d := &Datagrams{form: p.spec.datagram(p)}
	h := md5.New
	if f, ok := d.form.(*aesDatagram); ok {
		h = f.hash
	}
	d.pool.New = func() any { return &scratch{mac: newMAC(h, nil)} }
	return d
}

func (d *Datagrams) scratch() *scratch {
	x, _ := d.pool.Get().(*scratch) // New makes nothing else
	return x
}

// Rear is the room behind its payload that a datagram wants, in bytes; auth_chain uses more when it is
// there. Nothing is added before it.
func (d *Datagrams) Rear() int { return d.form.rear() }

// AppendClient makes a client's datagram of the payload b, in place, with Rear bytes of room. The result
// is nil when the room does not do, which is next to impossible.
func (d *Datagrams) AppendClient(b []byte, uid uint32, user []byte, random io.Reader) []byte {
	x := d.scratch()
	defer d.pool.Put(x)
	return d.form.appendClient(x, b, uid, user, random)
}

// AppendServer makes a server's datagram of the payload b; see AppendClient.
func (d *Datagrams) AppendServer(b, user []byte, random io.Reader) []byte {
	x := d.scratch()
	defer d.pool.Put(x)
	return d.form.appendServer(x, b, user, random)
}

// OpenClient decodes a client's datagram in place. The payload is a part of b; uid is 0 where the
// protocol has none.
func (d *Datagrams) OpenClient(b []byte, who Lookup) (payload []byte, uid uint32, err error) {
	x := d.scratch()
	defer d.pool.Put(x)
	return d.form.openClient(x, b, who)
}

// OpenServer decodes a server's datagram in place.
func (d *Datagrams) OpenServer(b, user []byte) ([]byte, error) {
	x := d.scratch()
	defer d.pool.Put(x)
	return d.form.openServer(x, b, user)
}

func originDatagram(*Port) datagram { return origin{} }

func (origin) rear() int { return 0 }

func (origin) appendClient(_ *scratch, b []byte, _ uint32, _ []byte, _ io.Reader) []byte { return b }

func (origin) appendServer(_ *scratch, b, _ []byte, _ io.Reader) []byte { return b }

func (origin) openClient(_ *scratch, b []byte, _ Lookup) ([]byte, uint32, error) { return b, 0, nil }

func (origin) openServer(_ *scratch, b, _ []byte) ([]byte, error) { return b, nil }

// aesDatagram is auth_aes128's (ssr.md §6.3): payload, a client's uid, MAC 4. The server's MAC has the
// port's key.
type aesDatagram struct {
	hash func() hash.Hash
	key  []byte
}

func (a *aes128) datagram(p *Port) datagram { return &aesDatagram{a.hash, p.key} }

func (*aesDatagram) rear() int { return 4 + aesTail }

func (*aesDatagram) appendClient(x *scratch, b []byte, uid uint32, user []byte, _ io.Reader) []byte {
	b = binary.LittleEndian.AppendUint32(b, uid)
	return append(b, x.mac.sum(user, b)[:aesTail]...)
}

func (f *aesDatagram) appendServer(x *scratch, b, _ []byte, _ io.Reader) []byte {
	return append(b, x.mac.sum(f.key, b)[:aesTail]...)
}

func (*aesDatagram) openClient(x *scratch, b []byte, who Lookup) ([]byte, uint32, error) {
	n := len(b) - aesTail
	if n < 4 {
		return nil, 0, ErrDatagram
	}
	uid := binary.LittleEndian.Uint32(b[n-4:])
	user, ok := who(uid)
	if !ok {
		return nil, uid, ErrUser
	}
	if !same(b[n:], x.mac.sum(user, b[:n])) {
		return nil, uid, ErrDatagram
	}
	return b[:n-4], uid, nil
}

func (f *aesDatagram) openServer(x *scratch, b, _ []byte) ([]byte, error) {
	n := len(b) - aesTail
	if n < 0 || !same(b[n:], x.mac.sum(f.key, b[:n])) {
		return nil, ErrDatagram
	}
	return b[:n], nil
}

// chainForm is that of auth_chain_a to f (ssr.md §7.7): RC4 of the payload, padding, then
//
//	client: | A 3 | uid 4, masked | MAC(UK) 1 |      server: | A 7 | MAC(UK) 1 |
type chainForm struct{ key []byte }

const (
	chainAsk    = 3 // A of a client, in bytes
	chainReply  = 7 // A of a server
	chainTail   = 8
	chainSpread = 127 // padding is less
)

func chainDatagram(p *Port) datagram { return &chainForm{p.key} }

// rear is enough for most paddings.
func (*chainForm) rear() int { return chainSpread/2 + chainTail }

// begin keys x for a datagram of that A and returns its padding in bytes.
func (f *chainForm) begin(x *scratch, a, user []byte) int {
	x.d = [md5.Size]byte(x.mac.sum(f.key, a))
	var key [md5.Size]byte
	key, x.text = derive(x.text, user, x.d[:], true)
	x.rc4.SetKey(key[:])
	r := newRNG(x.d)
	return r.intn(chainSpread)
}

// draws is how often padding is drawn that has room.
const draws = 64

// seal appends padding and A of n bytes to the payload b, which it encrypts. A is what the padding
// depends on: where there is little room it is drawn until that fits. The result is nil when none did.
func (f *chainForm) seal(x *scratch, b, user []byte, n int, random io.Reader) []byte {
	at := len(b)
	for range draws {
		b = fill(random, b[:at], n)
		pad := f.begin(x, b[at:], user)
		if at+pad+chainTail > cap(b) {
			continue
		}
		b = b[:at+pad+n]
		copy(b[at+pad:], b[at:at+n])
		_, _ = io.ReadFull(random, b[at:at+pad])
		x.rc4.XOR(b[:at], b[:at])
		return b
	}
	return nil
}

func (f *chainForm) appendClient(x *scratch, b []byte, uid uint32, user []byte, random io.Reader) []byte {
	if b = f.seal(x, b, user, chainAsk, random); b == nil {
		return nil
	}
	b = binary.LittleEndian.AppendUint32(b, uid^binary.LittleEndian.Uint32(x.d[:]))
	return append(b, x.mac.sum(user, b)[0])
}

func (f *chainForm) appendServer(x *scratch, b, user []byte, random io.Reader) []byte {
	if b = f.seal(x, b, user, chainReply, random); b == nil {
		return nil
	}
	return append(b, x.mac.sum(user, b)[0])
}

func (f *chainForm) openClient(x *scratch, b []byte, who Lookup) ([]byte, uint32, error) {
	n := len(b) - chainTail
	if n < 1 {
		return nil, 0, ErrDatagram
	}
	a := b[n : n+chainAsk]
	mask := binary.LittleEndian.Uint32(x.mac.sum(f.key, a))
	uid := binary.LittleEndian.Uint32(b[n+chainAsk:]) ^ mask
	user, ok := who(uid)
	if !ok {
		return nil, uid, ErrUser
	}
	payload, err := f.open(x, b, a, user)
	return payload, uid, err
}

func (f *chainForm) openServer(x *scratch, b, user []byte) ([]byte, error) {
	n := len(b) - chainTail
	if n < 1 {
		return nil, ErrDatagram
	}
	return f.open(x, b, b[n:n+chainReply], user)
}

// open checks the MAC of b and decrypts what is before its tail, padding off.
func (f *chainForm) open(x *scratch, b, a, user []byte) ([]byte, error) {
	if !same(b[len(b)-1:], x.mac.sum(user, b[:len(b)-1])) {
		return nil, ErrDatagram
	}
	n := len(b) - chainTail - f.begin(x, a, user)
	if n < 1 {
		return nil, ErrDatagram
	}
	x.rc4.XOR(b[:n], b[:n])
	return b[:n], nil
}

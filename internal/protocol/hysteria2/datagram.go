package hysteria2

import (
	"encoding/binary"
	"time"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
)

// Datagram is the header of one UDP message, or of a part of one.
type Datagram struct {
	Session uint32 // a socket of the client
	Packet  uint16 // tells the fragments of one packet from those of another
	Index   uint8  // of this fragment, below Count
	Count   uint8  // 1 is a whole packet
	Address M.Socksaddr
}

// fixedSize is the length of a header in bytes, its address apart.
const fixedSize = 4 + 2 + 1 + 1

// MaxHeader bounds a header in bytes.
const MaxHeader = fixedSize + 2 + address.MaxText

// ParseDatagram decodes the header at the start of b and returns its length in bytes; the payload is the
// rest. hint is the host of an earlier one or "", which saves the allocation when it comes again. Every
// error is final: a datagram is whole.
//
//	| session u32be | packet u16be | fragment 1 | fragments 1 | address length varint | H-ADDR | payload |
func ParseDatagram(b []byte, hint string) (d Datagram, n int, err error) {
	if len(b) < fixedSize {
		return Datagram{}, 0, ErrShort
	}
	d.Session, d.Packet, d.Index, d.Count = binary.BigEndian.Uint32(b), binary.BigEndian.Uint16(b[4:]), b[6], b[7]
	if d.Index >= d.Count {
		return Datagram{}, 0, errFragment
	}
	text, n, err := parseText(b[fixedSize:])
	if err != nil {
		return Datagram{}, 0, err
	}
	d.Address, err = address.ParseText(text, hint)
	if err != nil {
		return Datagram{}, 0, err
	}
	return d, fixedSize + n, nil
}

// AppendDatagram appends the header d to b.
func AppendDatagram(b []byte, d Datagram) []byte {
	b = binary.BigEndian.AppendUint32(b, d.Session)
	b = binary.BigEndian.AppendUint16(b, d.Packet)
	b = append(b, d.Index, d.Count)
	var scratch [address.MaxText]byte
	text := address.AppendText(scratch[:0], d.Address)
	return append(appendVarint(b, uint64(len(text))), text...)
}

// Fragments returns how many datagrams of at most size bytes, headers of header bytes included, a payload
// of length bytes takes, and how much of it each carries. Zero says that it cannot be done.
func Fragments(length, header, size int) (count, each int) {
	each = size - header
	if each <= 0 {
		return 0, 0
	}
	count = max(1, (length+each-1)/each)
	if count > 255 {
		return 0, 0
	}
	return count, each
}

const (
	maxPartial = 64               // packets of a connection that wait for fragments
	maxWaiting = 1 << 20          // bytes of those
	waitFor    = 10 * time.Second // how long one waits
	maxPacket  = 65535            // bytes of a packet
)

// Reassembly puts the fragments of one connection's packets together. It is bounded: the packet that
// waits longest makes room. The zero value is ready; it is for one goroutine.
type Reassembly struct {
	partial []*partial // oldest first
	size    int        // bytes in them
}

// partial is a packet that is not whole yet.
type partial struct {
	session uint32
	packet  uint16
	began   time.Time
	parts   [][]byte
	missing int
	size    int
}

// Add takes a fragment, whose payload it copies, and returns the whole packet's once it is there. now is
// the time of arrival.
func (r *Reassembly) Add(d *Datagram, payload []byte, now time.Time) (whole []byte, ok bool) {
	for len(r.partial) > 0 && now.Sub(r.partial[0].began) > waitFor {
		r.drop(0)
	}
	i, p := r.find(d)
	if p != nil && len(p.parts) != int(d.Count) { // the number is used again
		r.drop(i)
		p = nil
	}
	if p == nil {
		for len(r.partial) >= maxPartial {
			r.drop(0)
		}
		p = &partial{session: d.Session, packet: d.Packet, began: now, parts: make([][]byte, d.Count), missing: int(d.Count)}
		r.partial = append(r.partial, p)
	}
	if p.parts[d.Index] != nil {
		return nil, false
	}
	p.parts[d.Index] = append(make([]byte, 0, len(payload)), payload...)
	p.size += len(payload)
	r.size += len(payload)
	p.missing--
	switch {
	case p.size > maxPacket:
		r.forget(p)
	case p.missing == 0:
		r.forget(p)
		whole = make([]byte, 0, p.size)
		for _, part := range p.parts {
			whole = append(whole, part...)
		}
		return whole, true
	}
	for r.size > maxWaiting {
		r.drop(0)
	}
	return nil, false
}

func (r *Reassembly) find(d *Datagram) (int, *partial) {
	for i, p := range r.partial {
		if p.session == d.Session && p.packet == d.Packet {
			return i, p
		}
	}
	return 0, nil
}

func (r *Reassembly) forget(p *partial) {
	for i := range r.partial {
		if r.partial[i] == p {
			r.drop(i)
			return
		}
	}
}

func (r *Reassembly) drop(i int) {
	r.size -= r.partial[i].size
	r.partial = append(r.partial[:i], r.partial[i+1:]...)
}

package obfs

import "encoding/binary"

const (
	recordHead = 5
	// maxRecord is the longest record in bytes that is read.
	maxRecord = 1<<14 + 2048
)

// Types of TLS records.
const (
	typeChangeCipher = 0x14
	typeHandshake    = 0x16
	typeData         = 0x17
)

// records is the framing of TLS: one header of 5 bytes before each piece of a stream.
type records struct {
	head  [recordHead]byte
	have  int // bytes of head
	left  int // bytes of the record that come yet
	first byte
}

// Decode reads records, which may come in any parts.
func (r *records) decode(dst, src []byte) (n, used int, err error) {
	for used < len(src) {
		if r.left > 0 {
			k := copy(dst[n:], src[used:used+min(r.left, len(src)-used)])
			if k == 0 {
				return n, used, nil
			}
			n, used, r.left = n+k, used+k, r.left-k
			continue
		}
		k := copy(r.head[r.have:], src[used:])
		r.have, used = r.have+k, used+k
		if !r.possible() {
			return n, used, ErrRecord
		}
		if r.have < recordHead {
			return n, used, nil
		}
		r.left, r.have = int(binary.BigEndian.Uint16(r.head[3:])), 0
		r.first = 0
		if r.left > maxRecord {
			return n, used, ErrRecord
		}
	}
	return n, used, nil
}

// possible checks what there is of the header.
func (r *records) possible() bool {
	want := [3]byte{typeData, 3, 3}
	if r.first != 0 {
		want[0] = r.first
	}
	for i := range min(r.have, len(want)) {
		if r.head[i] != want[i] {
			return false
		}
	}
	return true
}

// openRecord appends a header whose length closeRecord fills in.
func openRecord(b []byte, kind byte) []byte { return append(b, kind, 3, 3, 0, 0) }

// closeRecord fills in the length of the record whose header begins at at.
func closeRecord(b []byte, at int) []byte {
	binary.BigEndian.PutUint16(b[at+3:], uint16(len(b)-at-recordHead))
	return b
}

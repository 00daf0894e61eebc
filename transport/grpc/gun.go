package grpc

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	messageHeader = 5 // compressed flag, length
	// maxMessage bounds a message in bytes; grpc-go takes 4 MiB. Nothing is kept of it.
	maxMessage = 16 << 20
	// maxHead is the longest head that we write: of a message, of its field, and the field's length.
	maxHead = messageHeader + 1 + 5

	hunkTag = 1<<3 | 2 // field 1, bytes

	wireVarint = 0
	wireFixed8 = 1
	wireBytes  = 2
	wireFixed4 = 5
)

// ErrMessage says that the peer sends what is no Hunk.
var ErrMessage = errors.New("not a gun message")

func bad(what string) error { return fmt.Errorf("%w: %s", ErrMessage, what) }

// stage is what a decoder expects next.
type stage byte

const (
	stageHead stage = iota // of a message
	stageTag               // of a field
	stageLength
	stageData
	stageSkip   // bytes of an unknown field
	stageVarint // of an unknown field
)

// decoder reads messages from any pieces of the stream. Hunk and MultiHunk are one to it: the payload
// of every field 1 in order.
//
//	message  | compressed 1, 0 | length 4 | field ... |
//	field    | tag varint, 0x0a | length varint | payload ... |
//
// Sources: gRPC over HTTP2, Length-Prefixed-Message; Xray transport/internet/grpc/encoding/stream.proto.
type decoder struct {
	remain  uint32 // of the message
	field   uint32 // of the payload, or of what is skipped
	varint  uint64
	shift   uint8
	headLen uint8
	stage   stage
	data    bool // the field is payload
	head    [messageHeader]byte
}

// next looks at b and returns how many bytes of it are done with, and a piece of payload in b, which
// is empty when b is used up. An error is final.
func (d *decoder) next(b []byte) (n int, data []byte, err error) {
	for n < len(b) {
		switch d.stage {
		case stageHead:
			n += d.collect(b[n:])
			if d.headLen < messageHeader {
				return n, nil, nil
			}
			if err := d.begin(); err != nil {
				return n, nil, err
			}
		case stageData, stageSkip:
			take := int(min(uint64(d.field), uint64(len(b)-n)))
			piece := b[n : n+take]
			n += take
			d.field -= uint32(take)
			d.remain -= uint32(take)
			skipped := d.stage == stageSkip
			if d.field == 0 {
				d.ended()
			}
			if !skipped && take > 0 {
				return n, piece, nil
			}
		default:
			err := d.number(b[n])
			n++
			if err != nil {
				return n, nil, err
			}
		}
	}
	return n, nil, nil
}

// collect takes bytes of the head of a message.
func (d *decoder) collect(b []byte) int {
	n := copy(d.head[d.headLen:], b)
	d.headLen += uint8(n)
	return n
}

func (d *decoder) begin() error {
	d.headLen = 0
	if d.head[0] != 0 {
		return bad("compressed message")
	}
	if d.remain = binary.BigEndian.Uint32(d.head[1:]); d.remain > maxMessage {
		return bad("message too long")
	}
	d.ended()
	return nil
}

// ended goes on behind a field.
func (d *decoder) ended() {
	d.stage, d.varint, d.shift = stageTag, 0, 0
	if d.remain == 0 {
		d.stage = stageHead
	}
}

// number takes one byte of a varint.
func (d *decoder) number(c byte) error {
	if d.remain == 0 || d.shift > 63 {
		return bad("number without an end")
	}
	d.remain--
	d.varint |= uint64(c&0x7f) << d.shift
	d.shift += 7
	if c&0x80 != 0 {
		if d.remain == 0 {
			return bad("number without an end")
		}
		return nil
	}
	v := d.varint
	d.varint, d.shift = 0, 0
	switch d.stage {
	case stageTag:
		return d.tag(v)
	case stageLength:
		if v > uint64(d.remain) {
			return bad("field longer than its message")
		}
		d.field = uint32(v)
		d.stage = stageSkip
		if d.data {
			d.stage = stageData
		}
		if v == 0 {
			d.ended()
		}
	default:
		d.ended()
	}
	return nil
}

func (d *decoder) tag(v uint64) error {
	d.data = v == hunkTag
	d.field = 0
	switch v & 7 {
	case wireBytes:
		d.stage = stageLength
		return d.needs(1)
	case wireVarint:
		d.stage = stageVarint
		return d.needs(1)
	case wireFixed4:
		d.stage, d.field = stageSkip, 4
		return d.needs(4)
	case wireFixed8:
		d.stage, d.field = stageSkip, 8
		return d.needs(8)
	}
	return bad("unknown kind of field")
}

func (d *decoder) needs(n uint32) error {
	if d.remain < n {
		return bad("field longer than its message")
	}
	return nil
}

// partial says whether the stream may not end here.
func (d *decoder) partial() bool { return d.stage != stageHead || d.headLen > 0 }

// appendHead writes what stands before n bytes of payload, which are one Hunk.
func appendHead(b []byte, n int) []byte {
	var length [binary.MaxVarintLen32]byte
	m := binary.PutUvarint(length[:], uint64(n))
	b = binary.BigEndian.AppendUint32(append(b, 0), uint32(1+m+n))
	return append(append(b, hunkTag), length[:m]...)
}

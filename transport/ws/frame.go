package ws

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Opcodes and close codes. RFC 6455 §5.2, §7.4.1.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa

	codeNormal   = 1000
	codeProtocol = 1002
	codeNone     = 1005 // a Close without a code; never sent

	maxControl = 125
	// maxHeader is the longest header of a client's frame: 2 bytes, 8 of length, 4 of mask. A server's
	// has no mask.
	maxHeader       = 14
	maxServerHeader = 10
	maskLen         = 4
)

// ErrProtocol says that the peer breaks RFC 6455. It got a Close with code 1002.
var ErrProtocol = errors.New("websocket protocol error")

func bad(what string) error { return fmt.Errorf("%w: %s", ErrProtocol, what) }

// event is what a decoder has found.
type event byte

const (
	eventNone  event = iota // the bytes are used up
	eventData               // a piece of payload, unmasked
	eventPing               // the payload of a whole ping
	eventClose              // the payload of a Close
)

// decoder reads a peer's frames from any pieces of the stream. A message's frames are one stream of
// bytes for us: whether they are text, binary or continuations makes no difference. Only clients mask.
//
//	| FIN 1 RSV 3 opcode 4 | MASK 1 length 7 | length 0, 2 or 8 bytes | mask 0 or 4 | payload ... |
//
// Source: RFC 6455 §5.2
type decoder struct {
	remain  uint64 // payload of the current frame that has not come yet
	key     uint32 // for its next byte
	op      byte
	bare    bool // the peer is a server: its frames have no mask
	message bool // a message has begun and is not finished
	headLen uint8
	ctlLen  uint8
	head    [maxHeader]byte
	ctl     [maxControl]byte
}

// next looks at b and returns how many bytes of it are done with and what was found there. data is
// part of b, or of the decoder until the next call. An error is final.
func (d *decoder) next(b []byte) (n int, found event, data []byte, err error) {
	for {
		if d.remain == 0 {
			m, ok, err := d.header(b[n:])
			n += m
			if err != nil || !ok {
				return n, eventNone, nil, err
			}
		}
		take := int(min(d.remain, uint64(len(b)-n)))
		piece := b[n : n+take]
		if !d.bare {
			d.key = unmask(piece, d.key)
		}
		d.remain -= uint64(take)
		n += take
		if d.op < opClose {
			if take > 0 {
				return n, eventData, piece, nil
			}
		} else {
			d.ctlLen += uint8(copy(d.ctl[d.ctlLen:], piece))
			if d.remain == 0 && d.op != opPong {
				return n, d.control(), d.ctl[:d.ctlLen], nil
			}
		}
		if n == len(b) {
			return n, eventNone, nil, nil
		}
	}
}

func (d *decoder) control() event {
	if d.op == opPing {
		return eventPing
	}
	return eventClose
}

// header collects one frame header and returns how many bytes of b it took, and whether it is whole.
func (d *decoder) header(b []byte) (n int, whole bool, err error) {
	if len(b) >= maxHeader && d.headLen == 0 { // the usual case, without copying
		n = d.length(b)
		return n, true, d.begin(b[:n])
	}
	need := 2
	if d.headLen >= 2 {
		need = d.length(d.head[:])
	}
	for {
		m := copy(d.head[d.headLen:need], b[n:])
		d.headLen += uint8(m)
		n += m
		if int(d.headLen) < need {
			return n, false, nil
		}
		if need == 2 {
			if err := d.check(d.head[0], d.head[1]); err != nil {
				return n, false, err // at the first bytes that cannot be right
			}
			need = d.length(d.head[:])
		}
		if int(d.headLen) == need {
			d.headLen = 0
			return n, true, d.begin(d.head[:need])
		}
	}
}

// length returns the length of the header that starts with b, 2 bytes at least.
func (d *decoder) length(b []byte) int {
	n := 2 + maskLen
	if d.bare {
		n = 2
	}
	switch b[1] & 0x7f {
	case 126:
		return n + 2
	case 127:
		return n + 8
	}
	return n
}

func (d *decoder) check(b0, b1 byte) error {
	op, length := b0&0x0f, b1&0x7f
	switch {
	case b0&0x70 != 0:
		return bad("reserved bits without an extension")
	case op > opPong || op > opBinary && op < opClose:
		return bad("unknown opcode")
	case b1&0x80 == 0 && !d.bare:
		return bad("frame of a client without a mask")
	case b1&0x80 != 0 && d.bare:
		return bad("frame of a server with a mask")
	case op >= opClose && b0&0x80 == 0:
		return bad("fragmented control frame")
	case op >= opClose && length > maxControl:
		return bad("control frame too long")
	}
	return nil
}

// begin takes a whole header.
func (d *decoder) begin(h []byte) error {
	if err := d.check(h[0], h[1]); err != nil {
		return err
	}
	n := len(h)
	if !d.bare {
		n -= maskLen
		d.key = binary.LittleEndian.Uint32(h[n:])
	}
	switch n {
	case 2:
		d.remain = uint64(h[1] & 0x7f)
	case 4:
		d.remain = uint64(binary.BigEndian.Uint16(h[2:]))
	default:
		d.remain = binary.BigEndian.Uint64(h[2:])
	}
	if d.remain>>63 != 0 {
		return bad("frame too long")
	}
	d.op, d.ctlLen = h[0]&0x0f, 0
	if d.op >= opClose {
		return nil
	}
	if d.message != (d.op == opContinuation) {
		return bad("message out of order")
	}
	d.message = h[0]&0x80 == 0
	return nil
}

// partial says whether the stream may not end here.
func (d *decoder) partial() bool { return d.remain > 0 || d.headLen > 0 }

// closeCode reads the payload of a Close and returns the code to answer with.
func closeCode(payload []byte) int {
	if len(payload) == 0 {
		return codeNone
	}
	if len(payload) == 1 {
		return codeProtocol
	}
	code := int(binary.BigEndian.Uint16(payload))
	if code < 1000 || code > 4999 || code >= 1004 && code <= 1006 || code > 1014 && code < 3000 {
		return codeProtocol
	}
	return code
}

// appendHeader writes the header of a whole frame. mask is 0x80 when a key follows, else 0.
func appendHeader(b []byte, op, mask byte, n int) []byte {
	b = append(b, 0x80|op)
	switch {
	case n <= maxControl:
		return append(b, mask|byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
}

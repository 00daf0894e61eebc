package vision

import (
	"bytes"
	"encoding/binary"
)

// Seed says how long paddings are, in bytes. Content shorter than Seed[0] in a stream with TLS is
// padded to Seed[2] plus up to Seed[1]-1; all other content gets up to Seed[3]-1.
//
// Source: Xray's testseed.
type Seed [4]uint16

// DefaultSeed is the one of all clients that know no other.
func DefaultSeed() Seed { return Seed{900, 500, 900, 256} }

// Padding returns how much padding a block with content bytes gets, so that it fits MaxBlock. long
// asks for the padding of a stream with TLS. random returns 0 to n-1 for an n above 0.
func (s Seed) Padding(content int, long bool, random func(n int) int) int {
	draw := func(n uint16) int {
		if n == 0 {
			return 0
		}
		return random(int(n))
	}
	var n int
	if long && content < int(s[0]) {
		n = draw(s[1]) + int(s[2]) - content
	} else {
		n = draw(s[3])
	}
	return max(0, min(n, MaxContent-content))
}

// AppendBlock appends a block. uuid stands before the first block of a direction and is nil before
// all others. content is at most 65535 bytes, as is padding.
//
//	| uuid 16, first block only | command 1 | content length u16be | padding length u16be | content | padding |
func AppendBlock(b, uuid []byte, command Command, content []byte, padding int) []byte {
	b = append(b, uuid...)
	b = append(b, byte(command))
	b = binary.BigEndian.AppendUint16(b, uint16(len(content)))
	b = binary.BigEndian.AppendUint16(b, uint16(padding))
	b = append(b, content...)
	return append(b, make([]byte, padding)...)
}

// appData is how a record of application data starts.
var appData = []byte{0x17, 3, 3}

// cut returns how much of b the next block takes: what is too long for one is cut where a record of
// application data seems to start, else in the middle, as Xray does.
func cut(b []byte) int {
	if len(b) < MaxContent {
		return len(b)
	}
	if i := bytes.LastIndex(b[:MaxContent], appData); i >= uuidSize+headerSize {
		return i
	}
	return MaxBlock / 2
}

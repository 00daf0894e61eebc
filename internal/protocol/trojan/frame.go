package trojan

import (
	"encoding/binary"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
)

// MaxPacket bounds the payload of a packet frame in bytes.
const MaxPacket = 65535

// Sizes of a packet frame in bytes.
const (
	frameTail = 2 + 2 // length and CRLF
	maxHeader = address.Max + frameTail
	// minHeader is the least that shows how long the header is: type and length of a host.
	minHeader = 2
)

// Frame is the header of one packet.
type Frame struct {
	Address M.Socksaddr // where the packet goes, or where it came from
	Length  int         // of the payload in bytes, 0 to MaxPacket
}

// ParseFrame decodes the frame header at the start of b and returns its length in bytes; the payload
// follows. Errors are those of ParseRequest. hint is the host of an earlier frame or "", which saves
// the allocation when it comes again.
//
//	| S-ADDR 7..259 | length u16be | CRLF 2 | payload ... |
func ParseFrame(b []byte, hint string) (f Frame, n int, err error) {
	f.Address, n, err = address.ParseS(b, hint)
	if err != nil {
		return Frame{}, 0, err
	}
	if len(b) < n+2 {
		return Frame{}, 0, ErrShort
	}
	f.Length = int(binary.BigEndian.Uint16(b[n:]))
	n += 2
	if err := crlf(b[n:]); err != nil {
		return Frame{}, 0, err
	}
	return f, n + 2, nil
}

// AppendFrame appends the header f to b. f.Length is at most MaxPacket.
func AppendFrame(b []byte, f Frame) []byte {
	b = address.AppendS(b, f.Address)
	b = binary.BigEndian.AppendUint16(b, uint16(f.Length))
	return append(b, '\r', '\n')
}

// headerSize returns the length of the frame header that starts with b, at least minHeader bytes. It
// is only a guess when b is malformed, which ParseFrame then says.
func headerSize(b []byte) int {
	switch b[0] {
	case 3:
		return 1 + 1 + int(b[1]) + 2 + frameTail
	case 4:
		return 1 + 16 + 2 + frameTail
	}
	return 1 + 4 + 2 + frameTail
}

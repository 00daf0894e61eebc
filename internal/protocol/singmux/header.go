package singmux

import (
	"encoding/binary"
	"fmt"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire"
)

// Protocol is what carries the streams.
type Protocol byte

// Protocols.
const (
	ProtocolSmux  Protocol = 0
	ProtocolYamux Protocol = 1
	ProtocolHTTP2 Protocol = 2
)

// Versions of the hello.
const (
	version0 = 0
	version1 = 1 // knows padding
)

// Flags of a request.
const (
	flagUDP       = 1
	flagPerPacket = 2 // with flagUDP: each packet has its own address
)

// Status bytes of an answer.
const (
	statusSuccess = 0
	statusFailure = 1
)

// maxMessage bounds the text of a failure in bytes.
const maxMessage = 255

// Errors of the parsers. While the bytes are only a prefix it is ErrShort: read more and call again.
// The others are final and wrap ErrBadRequest.
var (
	ErrShort      = wire.ErrShort
	ErrBadRequest = wire.ErrBadRequest
)

// Hello is what a client sends first on a connection.
type Hello struct {
	Protocol    Protocol
	Padding     bool // the first 16 writes of each side are padded
	PaddingSize int  // bytes behind the hello that mean nothing, up to 65535
}

// ParseHello decodes the hello at the start of b and returns its length in bytes, without the
// padding behind it.
//
//	| version 0 or 1 | protocol 0..2 | version 1: padding 0 or 1 | with padding: size u16be | padding ... |
func ParseHello(b []byte) (h Hello, n int, err error) {
	if len(b) > 0 && b[0] > version1 {
		return Hello{}, 0, fmt.Errorf("%w: sing-mux version %d", ErrBadRequest, b[0])
	}
	if len(b) > 1 && Protocol(b[1]) > ProtocolHTTP2 {
		return Hello{}, 0, fmt.Errorf("%w: sing-mux protocol %d", ErrBadRequest, b[1])
	}
	if len(b) < 2 {
		return Hello{}, 0, ErrShort
	}
	h.Protocol = Protocol(b[1])
	if b[0] == version0 {
		return h, 2, nil
	}
	if len(b) < 3 {
		return Hello{}, 0, ErrShort
	}
	if b[2] == 0 {
		return h, 3, nil
	}
	if len(b) < 5 {
		return Hello{}, 0, ErrShort
	}
	h.Padding = true
	h.PaddingSize = int(binary.BigEndian.Uint16(b[3:]))
	return h, 5, nil
}

// AppendHello appends h and its padding, zeros, to b: version 0 when it has none.
func AppendHello(b []byte, h Hello) []byte {
	if !h.Padding {
		return append(b, version0, byte(h.Protocol))
	}
	b = append(b, version1, byte(h.Protocol), 1)
	b = binary.BigEndian.AppendUint16(b, uint16(h.PaddingSize))
	return append(b, make([]byte, h.PaddingSize)...)
}

// Request is what a client sends first on a stream.
type Request struct {
	UDP         bool
	PerPacket   bool // UDP: each packet has its own address, and Destination means nothing
	Destination M.Socksaddr
}

// ParseRequest decodes the request at the start of b and returns its length in bytes; what follows in
// b is payload. It keeps no reference to b.
//
//	| flags u16be: 1 UDP, 2 per packet | S-ADDR 7..259 |
func ParseRequest(b []byte) (r Request, n int, err error) {
	if len(b) < 2 {
		return Request{}, 0, ErrShort
	}
	flags := binary.BigEndian.Uint16(b)
	r.UDP = flags&flagUDP != 0
	r.PerPacket = r.UDP && flags&flagPerPacket != 0
	if r.Destination, n, err = address.ParseS(b[2:], ""); err != nil {
		return Request{}, 0, err
	}
	return r, 2 + n, nil
}

// AppendRequest appends r to b.
func AppendRequest(b []byte, r Request) []byte {
	var flags uint16
	if r.UDP {
		flags = flagUDP
		if r.PerPacket {
			flags |= flagPerPacket
		}
	}
	b = binary.BigEndian.AppendUint16(b, flags)
	return address.AppendS(b, r.Destination)
}

// AppendFailure appends the answer to a stream that did not come about to b. Of message at most 255
// bytes are sent.
//
//	| status 1 | length uvarint | message |
func AppendFailure(b []byte, message string) []byte {
	return appendText(append(b, statusFailure), message)
}

func appendText(b []byte, text string) []byte {
	text = text[:min(len(text), maxMessage)]
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// packetHeader is the frame header of a packet.
type packetHeader struct {
	address M.Socksaddr // valid in sessions whose packets have their own
	length  int
}

// parsePacket decodes the header of a packet with an address of its own; host is the last one.
//
//	| S-ADDR 7..259 | length u16be | payload ... |
func parsePacket(b []byte, host string) (h packetHeader, n int, err error) {
	addr, n, err := address.ParseS(b, host)
	if err != nil {
		return packetHeader{}, 0, err
	}
	if len(b) < n+lengthSize {
		return packetHeader{}, 0, ErrShort
	}
	return packetHeader{addr, int(binary.BigEndian.Uint16(b[n:]))}, n + lengthSize, nil
}

// parseLength decodes the header of a packet without an address.
//
//	| length u16be | payload ... |
func parseLength(b []byte) (h packetHeader, n int, err error) {
	if len(b) < lengthSize {
		return packetHeader{}, 0, ErrShort
	}
	return packetHeader{length: int(binary.BigEndian.Uint16(b))}, lengthSize, nil
}

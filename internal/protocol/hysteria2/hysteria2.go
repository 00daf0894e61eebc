// Package hysteria2 encodes and decodes what Hysteria 2 says inside QUIC: the headers of the
// authentication, the request and the answer of a TCP stream, and the datagrams of UDP, with their
// fragments. It knows no QUIC.
//
// Source: https://github.com/apernet/hysteria/blob/master/PROTOCOL.md, protocols.md §7.1
package hysteria2

import (
	"fmt"
	"strconv"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire"
)

// What the authentication is made of: a POST of HTTP/3 to https://hysteria/auth.
const (
	AuthHost = "hysteria"
	AuthPath = "/auth"
	StatusOK = 233 // any other status is a refusal

	HeaderAuth    = "Hysteria-Auth"    // request: the password
	HeaderUDP     = "Hysteria-UDP"     // answer: whether UDP is served
	HeaderRate    = "Hysteria-CC-RX"   // both: bytes per second that the sender of it can receive
	HeaderPadding = "Hysteria-Padding" // both: any characters

	// RateAuto in HeaderRate of an answer tells the client to find its rate by itself.
	RateAuto = "auto"
)

const (
	// FrameTCP is the type of the HTTP/3 frame that a TCP stream starts with.
	FrameTCP = 0x401

	maxPadding = 4096 // of a request
	maxMessage = 2048 // of an answer

	// MaxReply is the largest datagram towards a client in bytes: theirs drop larger ones.
	MaxReply = 4096
)

// Errors of the parsers. All but ErrShort wrap ErrBadRequest and are final.
var (
	ErrShort      = wire.ErrShort
	ErrBadRequest = wire.ErrBadRequest
	errFrame      = fmt.Errorf("%w: not a TCP stream", ErrBadRequest)
	errLength     = fmt.Errorf("%w: a length is too large", ErrBadRequest)
	errFragment   = fmt.Errorf("%w: fragment without a place", ErrBadRequest)
)

// ParseRate reads HeaderRate: 0 is unknown, and so is what is no number.
func ParseRate(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// Request is the start of a TCP stream.
type Request struct {
	Destination M.Socksaddr
	Padding     int // bytes that follow, then payload
}

// ParseRequest decodes the request at the start of b, type included, and returns its length in bytes
// without the padding. It keeps no reference to b. While b is only a prefix the error is ErrShort.
//
//	| type varint 0x401 | address length varint | H-ADDR | padding length varint | padding | payload ... |
func ParseRequest(b []byte) (r Request, n int, err error) {
	kind, n, err := parseVarint(b)
	if err != nil {
		return Request{}, 0, err
	}
	if kind != FrameTCP {
		return Request{}, 0, errFrame
	}
	text, m, err := parseText(b[n:])
	if err != nil {
		return Request{}, 0, err
	}
	n += m
	padding, m, err := parseVarint(b[n:])
	if err != nil {
		return Request{}, 0, err
	}
	if padding > maxPadding {
		return Request{}, 0, errLength
	}
	if r.Destination, err = address.ParseText(text, ""); err != nil {
		return Request{}, 0, err
	}
	r.Padding = int(padding)
	return r, n + m, nil
}

// AppendRequest appends r, and zeros for its padding, to b.
func AppendRequest(b []byte, r Request) []byte {
	b = appendVarint(b, FrameTCP)
	text := address.AppendText(nil, r.Destination)
	b = append(appendVarint(b, uint64(len(text))), text...)
	return append(appendVarint(b, uint64(r.Padding)), make([]byte, r.Padding)...)
}

// Response is the answer to a request, before any payload.
type Response struct {
	OK      bool
	Message string // cut at 2048 bytes
	Padding int    // bytes of padding, at most 4096
}

// AppendResponse appends r, and zeros for its padding, to b.
//
//	| status 1: 0 is OK | message length varint | message | padding length varint | padding | payload ... |
func AppendResponse(b []byte, r Response) []byte {
	status := byte(1)
	if r.OK {
		status = 0
	}
	message := r.Message[:min(len(r.Message), maxMessage)]
	b = append(b, status)
	b = append(appendVarint(b, uint64(len(message))), message...)
	return append(appendVarint(b, uint64(r.Padding)), make([]byte, r.Padding)...)
}

// ParseResponse decodes the answer at the start of b and returns its length in bytes, without the
// padding.
func ParseResponse(b []byte) (r Response, n int, err error) {
	if len(b) == 0 {
		return Response{}, 0, ErrShort
	}
	r.OK = b[0] == 0
	length, m, err := parseVarint(b[1:])
	if err != nil {
		return Response{}, 0, err
	}
	n = 1 + m
	if length > maxMessage {
		return Response{}, 0, errLength
	}
	if len(b) < n+int(length) {
		return Response{}, 0, ErrShort
	}
	r.Message = string(b[n : n+int(length)])
	n += int(length)
	padding, m, err := parseVarint(b[n:])
	if err != nil {
		return Response{}, 0, err
	}
	if padding > maxPadding {
		return Response{}, 0, errLength
	}
	r.Padding = int(padding)
	return r, n + m, nil
}

// parseText decodes a text of at most an address' length.
func parseText(b []byte) (text []byte, n int, err error) {
	length, n, err := parseVarint(b)
	if err != nil {
		return nil, 0, err
	}
	if length == 0 || length > address.MaxText {
		return nil, 0, errLength
	}
	if len(b) < n+int(length) {
		return nil, 0, ErrShort
	}
	return b[n : n+int(length)], n + int(length), nil
}

// parseVarint decodes QUIC's variable-length integer: RFC 9000 §16.
func parseVarint(b []byte) (v uint64, n int, err error) {
	if len(b) == 0 {
		return 0, 0, ErrShort
	}
	n = 1 << (b[0] >> 6)
	if len(b) < n {
		return 0, 0, ErrShort
	}
	v = uint64(b[0] & 0x3f)
	for _, c := range b[1:n] {
		v = v<<8 | uint64(c)
	}
	return v, n, nil
}

// appendVarint appends the shortest form of v, which is below 1<<30.
func appendVarint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<6:
		return append(b, byte(v))
	case v < 1<<14:
		return append(b, 0x40|byte(v>>8), byte(v))
	}
	return append(b, 0x80|byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

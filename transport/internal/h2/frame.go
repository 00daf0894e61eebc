// Package h2 is HTTP/2 as a carrier of streams, for servers and dialers: frames are taken apart in the
// buffers that they were read into and written around payload in place. A connection holds no buffer
// while it waits, and a chunk costs no allocation.
//
// It does what RFC 9113 asks of an endpoint that pushes nothing and does not prioritise, and bounds
// everything that a peer can make it do: see limits.go.
package h2

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Frame types. RFC 9113 §6.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameReset        = 0x3
	frameSettings     = 0x4
	framePush         = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindow       = 0x8
	frameContinuation = 0x9

	flagEnd      = 0x1 // END_STREAM; ACK of SETTINGS and PING
	flagHeaders  = 0x4 // END_HEADERS
	flagPadded   = 0x8
	flagPriority = 0x20

	frameHeader = 9
	// maxFrame is the longest frame we take: the default, which every client knows. A larger one makes
	// Go's client allocate as much for each stream.
	maxFrame = 16 << 10
	// maxSend bounds what we send in one frame to peers that would take more.
	maxSend = 64 << 10

	windowMax     = 1<<31 - 1
	windowDefault = 65535
)

// Preface is what every client sends first. RFC 9113 §3.4.
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Settings. RFC 9113 §6.5.2.
const (
	settingPush       = 0x2
	settingMaxStreams = 0x3
	settingWindow     = 0x4
	settingMaxFrame   = 0x5
)

// Code is why a stream or a connection ends. RFC 9113 §7.
type Code uint32

// Codes that we send or look for.
const (
	codeNone        Code = 0x0
	codeProtocol    Code = 0x1
	codeFlowControl Code = 0x3
	codeClosed      Code = 0x5
	codeFrameSize   Code = 0x6
	codeRefused     Code = 0x7
	codeCancel      Code = 0x8
	codeCompression Code = 0x9
	codeCalm        Code = 0xb // ENHANCE_YOUR_CALM
)

// ErrProtocol says that the peer breaks RFC 9113 or asks for too much. The connection is over.
var ErrProtocol = errors.New("http/2 protocol error")

// connError ends the connection with a GOAWAY.
type connError struct {
	code Code
	what string
}

func (e *connError) Error() string { return fmt.Sprintf("%v: %s", ErrProtocol, e.what) }

func (e *connError) Unwrap() error { return ErrProtocol }

func bad(code Code, what string) error { return &connError{code, what} }

// ResetError ends one stream: the peer has reset it.
type ResetError struct{ Code Code }

func (e *ResetError) Error() string { return fmt.Sprintf("stream reset by peer, code %d", e.Code) }

// header is the head of a frame.
//
//	| length 24 | type 8 | flags 8 | reserved 1, stream 31 | payload ... |
type header struct {
	length int
	typ    byte
	flags  byte
	stream uint32
}

// parseHeader decodes the 9 bytes at the start of b.
func parseHeader(b []byte) header {
	return header{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		typ:    b[3],
		flags:  b[4],
		stream: binary.BigEndian.Uint32(b[5:]) & windowMax,
	}
}

func putHeader(b []byte, length int, typ, flags byte, stream uint32) {
	_ = b[8]
	b[0], b[1], b[2] = byte(length>>16), byte(length>>8), byte(length)
	b[3], b[4] = typ, flags
	binary.BigEndian.PutUint32(b[5:], stream)
}

func appendHeader(b []byte, length int, typ, flags byte, stream uint32) []byte {
	var h [frameHeader]byte
	putHeader(h[:], length, typ, flags, stream)
	return append(b, h[:]...)
}

// appendWord writes a frame whose payload is one number: WINDOW_UPDATE, RST_STREAM.
func appendWord(b []byte, typ byte, stream, word uint32) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(b, 4, typ, 0, stream), word)
}

func appendGoAway(b []byte, last uint32, code Code) []byte {
	b = appendHeader(b, 8, frameGoAway, 0, 0)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, last), uint32(code))
}

// setting is one of SETTINGS.
type setting struct {
	id    uint16
	value uint32
}

func appendSettings(b []byte, settings ...setting) []byte {
	b = appendHeader(b, 6*len(settings), frameSettings, 0, 0)
	for _, s := range settings {
		b = binary.BigEndian.AppendUint16(b, s.id)
		b = binary.BigEndian.AppendUint32(b, s.value)
	}
	return b
}

// appendHeaders writes a header block as HEADERS and as many CONTINUATION as it takes.
func appendHeaders(b []byte, stream uint32, flags byte, block []byte) []byte {
	typ := byte(frameHeaders)
	for {
		n := min(len(block), maxFrame)
		if n == len(block) {
			flags |= flagHeaders
		}
		b = append(appendHeader(b, n, typ, flags, stream), block[:n]...)
		if block = block[n:]; len(block) == 0 {
			return b
		}
		typ, flags = frameContinuation, 0
	}
}

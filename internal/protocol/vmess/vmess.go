// Package vmess encodes and decodes VMess: how users are recognised (AEAD and the legacy MD5 way), the
// request and response headers of both, and the body in every security, for servers and clients.
//
// Nothing here tells the time or finds randomness: both are passed in.
//
// Source: https://xtls.github.io/en/development/protocols/vmess.html, V2Ray's "VMess AEAD" notes,
// protocols.md §1
package vmess

import (
	"fmt"

	"heki/internal/protocol/wire"
)

// Version is the only protocol version in use.
const Version = 1

// Window is how far in seconds a client's clock may be off, either way.
const Window = 120

// Command says what the client wants.
type Command uint8

// Commands.
const (
	CommandTCP Command = 1
	CommandUDP Command = 2
	CommandMux Command = 3
)

// MuxHost is the destination of command Mux, which carries no address.
const MuxHost = "v1.mux.cool"

// Security is how a body is encrypted.
type Security uint8

// Securities on the wire. 0 (unknown), 2 (auto) and 6 (zero) are names that clients resolve: zero is
// SecurityNone without OptionChunkStream.
const (
	SecurityLegacy Security = 1 // AES-128-CFB with FNV checksums
	SecurityGCM    Security = 3 // AES-128-GCM
	SecurityChaCha Security = 4 // ChaCha20-Poly1305
	SecurityNone   Security = 5
)

// String returns the name that clients' configurations use.
func (s Security) String() string {
	switch s {
	case SecurityLegacy:
		return "aes-128-cfb"
	case SecurityGCM:
		return "aes-128-gcm"
	case SecurityChaCha:
		return "chacha20-poly1305"
	case SecurityNone:
		return "none"
	}
	return fmt.Sprintf("security %d", uint8(s))
}

// Options is a set of body options.
type Options uint8

// Body options. 0x02, connection reuse, is obsolete and means nothing.
const (
	OptionChunkStream         Options = 0x01 // length-delimited chunks; always so for GCM and ChaCha
	OptionChunkMasking        Options = 0x04 // lengths are XORed with a SHAKE128 stream
	OptionGlobalPadding       Options = 0x08 // 0 to 63 random bytes behind each chunk
	OptionAuthenticatedLength Options = 0x10 // lengths are sealed; GCM and ChaCha only
)

// Errors of the header parsers. All but ErrShort wrap ErrBadRequest.
var (
	ErrShort      = wire.ErrShort
	ErrBadRequest = wire.ErrBadRequest
	errVersion    = fmt.Errorf("%w: version is not 1", ErrBadRequest)
	errSecurity   = fmt.Errorf("%w: unknown security", ErrBadRequest)
	errCommand    = fmt.Errorf("%w: unknown command", ErrBadRequest)
	errUnframed   = fmt.Errorf("%w: packets without chunks", ErrBadRequest)
	errChecksum   = fmt.Errorf("%w: wrong checksum", ErrBadRequest)
	errLength     = fmt.Errorf("%w: header length out of bounds", ErrBadRequest)
	errSealed     = fmt.Errorf("%w: header does not open", ErrBadRequest)
	errTrailing   = fmt.Errorf("%w: bytes behind the header", ErrBadRequest)
)

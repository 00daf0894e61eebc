// Package vision is XTLS Vision, the flow of VLESS: while a TLS handshake runs inside the tunnel its
// records are padded, so that their lengths do not tell; once application data of TLS 1.3 follows,
// which needs no second encryption, each direction leaves the outer TLS and goes on as it is.
//
// Source: Xray-core proxy/proxy.go, protocols.md §2.2
package vision

import (
	"fmt"

	"heki/internal/protocol/wire"
)

// Command is what a block says about what follows it.
type Command byte

// Commands.
const (
	CommandContinue Command = 0 // another block
	CommandEnd      Command = 1 // payload inside the outer TLS
	CommandDirect   Command = 2 // payload, outside of the outer TLS
)

// Mode is what a direction is in: blocks first, then one of the others for good.
type Mode uint32

// Modes.
const (
	ModePadded Mode = iota
	ModePlain
	ModeDirect
)

const (
	uuidSize   = 16
	headerSize = 5 // command 1, content length u16be, padding length u16be

	// MaxBlock is the most that a block is long in bytes, with the uuid before the first one: the
	// buffer of Xray and sing-box clients, of which the latter cannot take a header in two parts.
	MaxBlock = 8 << 10
	// MaxContent is the most content in bytes of a block that we make.
	MaxContent = MaxBlock - uuidSize - headerSize
)

// Errors of Unpadder. All but ErrShort wrap ErrBadRequest.
var (
	ErrShort      = wire.ErrShort
	ErrBadRequest = wire.ErrBadRequest
	errCommand    = fmt.Errorf("%w: unknown vision command", ErrBadRequest)
)

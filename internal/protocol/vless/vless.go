// Package vless encodes and decodes VLESS: the request, the response header that goes out with the
// first answer, and the packet frames of command UDP. It has no flow.
//
// Source: https://xtls.github.io/en/development/protocols/vless.html, protocols.md §2.1
package vless

import (
	"fmt"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire"
)

// Version is the only protocol version in use.
const Version = 0

// Command says what the client wants.
type Command uint8

// Commands. 4 is Xray's reverse proxy, which we refuse.
const (
	CommandTCP Command = 1
	CommandUDP Command = 2
	CommandMux Command = 3
)

// FlowVision is the one flow in use.
const FlowVision = "xtls-rprx-vision"

// MuxHost is the destination of command Mux, which carries no address.
const MuxHost = "v1.mux.cool"

// MaxFlow bounds Request.Flow in bytes: it shares the 255 bytes of the addons with its tag and length.
const MaxFlow = 252

// MaxRequest bounds the length of a request in bytes.
const MaxRequest = 1 + 16 + 1 + 255 + 1 + address.Max

// Errors of ParseRequest. All but ErrShort wrap ErrBadRequest.
var (
	ErrShort      = wire.ErrShort
	ErrBadRequest = wire.ErrBadRequest
	errVersion    = fmt.Errorf("%w: version is not 0", ErrBadRequest)
	errAddons     = fmt.Errorf("%w: malformed addons", ErrBadRequest)
	errCommand    = fmt.Errorf("%w: unknown command", ErrBadRequest)
)

// UUID identifies a user, in network byte order.
type UUID = [16]byte

// RouteKey returns the key to look a user up by: uuid without bytes 6 and 7, in which clients put a
// number for routing. Source: Xray ≥ 25.
func RouteKey(uuid UUID) UUID {
	uuid[6], uuid[7] = 0, 0
	return uuid
}

// Request is what a client sends first.
type Request struct {
	UUID        UUID        // as sent: look it up by RouteKey, use it as it is for Vision
	Flow        string      // "" or FlowVision, or whatever else was sent
	Command     Command     // TCP, UDP or Mux
	Destination M.Socksaddr // MuxHost and port 0 for command Mux
}

// ParseRequest decodes the request at the start of b and returns its length in bytes; what follows in
// b is payload. It keeps no reference to b. Unknown addons are skipped.
//
// While b is only a prefix of a request the error is ErrShort: read more and call again. Every other
// error wraps ErrBadRequest and is final.
//
//	| version 0 | uuid 16 | addons length 1 | addons | command 1 | V-ADDR unless Mux | payload ... |
func ParseRequest(b []byte) (req Request, n int, err error) {
	if len(b) == 0 {
		return Request{}, 0, ErrShort
	}
	if b[0] != Version {
		return Request{}, 0, errVersion
	}
	if len(b) < 18 {
		return Request{}, 0, ErrShort
	}
	req.UUID = UUID(b[1:17])
	n = 18 + int(b[17])
	if len(b) < n {
		return Request{}, 0, ErrShort
	}
	var ok bool
	if req.Flow, ok = parseAddons(b[18:n]); !ok {
		return Request{}, 0, errAddons
	}
	if len(b) == n {
		return Request{}, 0, ErrShort
	}
	req.Command = Command(b[n])
	n++
	switch req.Command {
	case CommandMux:
		req.Destination.Fqdn = MuxHost
		return req, n, nil
	case CommandTCP, CommandUDP:
	default:
		return Request{}, 0, errCommand
	}
	addr, size, err := address.ParseV(b[n:], "")
	if err != nil {
		return Request{}, 0, err
	}
	req.Destination = addr
	return req, n + size, nil
}

// AppendRequest appends req to b. Command Mux has no destination on the wire. A flow longer than
// MaxFlow is left out.
func AppendRequest(b []byte, req Request) []byte {
	b = append(b, Version)
	b = append(b, req.UUID[:]...)
	b = appendAddons(b, req.Flow)
	b = append(b, byte(req.Command))
	if req.Command == CommandMux {
		return b
	}
	return address.AppendV(b, req.Destination)
}

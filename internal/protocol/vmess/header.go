package vmess

import (
	"encoding/binary"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
)

// Header sizes in bytes.
const (
	fixedHeader = 38 // up to the address
	checksum    = 4
	maxPadding  = 15 // its length has four bits
	minHeader   = fixedHeader + checksum
	maxHeader   = fixedHeader + address.Max + maxPadding + checksum
)

// Request is what a client asks for, and how both bodies are encrypted.
type Request struct {
	Key, IV     [16]byte // of the request's body; the response's are derived from them
	Response    byte     // the response header begins with it
	Options     Options
	Security    Security
	Padding     int // random bytes behind the address, 0 to 15
	Command     Command
	Destination M.Socksaddr // MuxHost and port 0 for command Mux
}

// ParseHeader decodes the plain header at the start of b and returns its length in bytes. It keeps no
// reference to b. While b is only a prefix of a header the error is ErrShort; every other error wraps
// ErrBadRequest and is final.
//
//	| version 1 | IV 16 | key 16 | response 1 | options 1 | padding length, security 1 | 0 | command 1 |
//	| V-ADDR unless Mux | padding 0..15 | FNV-1a-32 of all before |
func ParseHeader(b []byte) (req Request, n int, err error) {
	if len(b) == 0 {
		return Request{}, 0, ErrShort
	}
	if b[0] != Version {
		return Request{}, 0, errVersion
	}
	if len(b) < fixedHeader {
		return Request{}, 0, ErrShort
	}
	req = Request{
		IV: [16]byte(b[1:17]), Key: [16]byte(b[17:33]), Response: b[33], Options: Options(b[34]),
		Security: Security(b[35] & 15), Padding: int(b[35] >> 4), Command: Command(b[37]),
	}
	if err := req.check(); err != nil {
		return Request{}, 0, err
	}
	n = fixedHeader
	if req.Command == CommandMux {
		req.Destination.Fqdn = MuxHost
	} else {
		addr, size, err := address.ParseV(b[n:], "")
		if err != nil {
			return Request{}, 0, err
		}
		req.Destination = addr
		n += size
	}
	n += req.Padding
	if len(b) < n+checksum {
		return Request{}, 0, ErrShort
	}
	if binary.BigEndian.Uint32(b[n:]) != fnv1a(b[:n]) {
		return Request{}, 0, errChecksum
	}
	return req, n + checksum, nil
}

// check refuses what cannot be served.
func (r *Request) check() error {
	switch r.Security {
	case SecurityGCM, SecurityChaCha:
	case SecurityLegacy, SecurityNone:
		if r.Command == CommandUDP && r.Options&OptionChunkStream == 0 {
			return errUnframed
		}
	default:
		return errSecurity
	}
	switch r.Command {
	case CommandTCP, CommandUDP, CommandMux:
		return nil
	}
	return errCommand
}

// AppendHeader appends the plain header of req to b. The padding's content is taken from padding,
// which has at least req.Padding bytes.
func AppendHeader(b []byte, req Request, padding []byte) []byte {
	start := len(b)
	b = append(b, Version)
	b = append(b, req.IV[:]...)
	b = append(b, req.Key[:]...)
	b = append(b, req.Response, byte(req.Options), byte(req.Padding<<4)|byte(req.Security), 0, byte(req.Command))
	if req.Command != CommandMux {
		b = address.AppendV(b, req.Destination)
	}
	b = append(b, padding[:req.Padding]...)
	return binary.BigEndian.AppendUint32(b, fnv1a(b[start:]))
}

// fnv1a is FNV-1a of 32 bits, without the interface of hash/fnv.
func fnv1a(b []byte) uint32 {
	const offset, prime = 2166136261, 16777619
	h := uint32(offset)
	for _, c := range b {
		h = (h ^ uint32(c)) * prime
	}
	return h
}

// Package uot is UDP over TCP, version 1 and 2: the packets of one client socket on one stream. Clients
// of AnyTLS have no other way, those of Shadowsocks, VLESS and VMess may choose it.
//
// Source: https://github.com/SagerNet/sing-box/blob/v1.14.1/docs/configuration/shared/udp-over-tcp.md,
// protocols.md §5.5
package uot

import (
	"encoding/binary"
	"fmt"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire"
)

// Destinations that ask for UDP over TCP. Clients name any port.
const (
	Host       = "sp.v2.udp-over-tcp.arpa"
	LegacyHost = "sp.udp-over-tcp.arpa" // version 1: without a request
)

// IsDestination reports whether destination, of any port, asks for UDP over TCP. With legacy set no
// request follows.
func IsDestination(destination M.Socksaddr) (legacy, ok bool) {
	return destination.Fqdn == LegacyHost, destination.Fqdn == Host || destination.Fqdn == LegacyHost
}

const (
	// MaxPacket bounds a packet in bytes.
	MaxPacket = 65535

	lengthSize = 2
)

// Errors of the parsers. All but ErrShort wrap ErrBadRequest and are final.
var (
	ErrShort      = wire.ErrShort
	ErrBadRequest = wire.ErrBadRequest
	errConnect    = fmt.Errorf("%w: neither to one nor to any address", ErrBadRequest)
)

// Request opens a session.
type Request struct {
	Connect     bool // packets have no address: all go to Destination
	Destination M.Socksaddr
}

// ParseRequest decodes the request at the start of b and returns its length in bytes; packets follow.
// It keeps no reference to b.
//
//	| connect 1: 0 or 1 | S-ADDR 7..259 |
func ParseRequest(b []byte) (r Request, n int, err error) {
	if len(b) == 0 {
		return Request{}, 0, ErrShort
	}
	if b[0] > 1 {
		return Request{}, 0, errConnect
	}
	r.Connect = b[0] == 1
	r.Destination, n, err = address.ParseS(b[1:], "")
	if err != nil {
		return Request{}, 0, err
	}
	return r, 1 + n, nil
}

// AppendRequest appends r to b.
func AppendRequest(b []byte, r Request) []byte {
	connect := byte(0)
	if r.Connect {
		connect = 1
	}
	return address.AppendS(append(b, connect), r.Destination)
}

// Packet is the header of one packet.
type Packet struct {
	Address M.Socksaddr // where it goes, or where it came from
	Length  int         // of the payload in bytes, 0 to MaxPacket
}

// ParsePacket decodes the packet header at the start of b and returns its length in bytes; the payload
// follows. hint is the host of an earlier packet or "", which saves the allocation when it comes again.
//
//	| U-ADDR 7..259 | length u16be | payload ... |
func ParsePacket(b []byte, hint string) (p Packet, n int, err error) {
	p.Address, n, err = address.ParseU(b, hint)
	if err != nil {
		return Packet{}, 0, err
	}
	if len(b) < n+lengthSize {
		return Packet{}, 0, ErrShort
	}
	p.Length = int(binary.BigEndian.Uint16(b[n:]))
	return p, n + lengthSize, nil
}

// AppendPacket appends the header p to b. p.Length is at most MaxPacket.
func AppendPacket(b []byte, p Packet) []byte {
	b = address.AppendU(b, p.Address)
	return binary.BigEndian.AppendUint16(b, uint16(p.Length))
}

// parseLength decodes the header of a packet without an address.
func parseLength(b []byte) (length, n int, err error) {
	if len(b) < lengthSize {
		return 0, 0, ErrShort
	}
	return int(binary.BigEndian.Uint16(b)), lengthSize, nil
}

// Package socks encodes the client's half of SOCKS 5 (RFC 1928, RFC 1929) and of SOCKS 4 and 4a, and
// decodes what servers answer.
package socks

import (
	"encoding/binary"
	"errors"
	"fmt"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire"
)

// Versions.
const (
	version4 = 4
	version5 = 5
	versionA = 1 // of the user name and password negotiation
)

// Command says what the client wants.
type Command uint8

// Commands.
const (
	CommandConnect   Command = 1
	CommandAssociate Command = 3 // SOCKS 5 only
)

// Method is a way to authenticate.
type Method uint8

// Methods.
const (
	MethodNone     Method = 0
	MethodPassword Method = 2
	methodRefused  Method = 0xff
)

// Errors of the parsers; those for malformed answers wrap ErrBadAnswer. ErrShort asks for more bytes.
var (
	ErrShort     = wire.ErrShort
	ErrBadAnswer = errors.New("not an answer of a SOCKS server")
	// ErrRefused is wrapped by what a server says instead of serving.
	ErrRefused = errors.New("the SOCKS server refuses")

	errMethods     = fmt.Errorf("%w every way to authenticate that was offered", ErrRefused)
	errCredentials = fmt.Errorf("%w the user name and password", ErrRefused)
)

// AppendMethods appends the greeting of SOCKS 5, which offers methods.
func AppendMethods(b []byte, methods ...Method) []byte {
	b = append(b, version5, byte(len(methods)))
	for _, m := range methods {
		b = append(b, byte(m))
	}
	return b
}

// ParseMethod decodes the answer to AppendMethods and returns its length in bytes.
//
//	| version 5 | method 1 |
func ParseMethod(b []byte) (Method, int, error) {
	if len(b) > 0 && b[0] != version5 {
		return 0, 0, fmt.Errorf("%w 5: it begins with the byte %#02x", ErrBadAnswer, b[0])
	}
	if len(b) < 2 {
		return 0, 0, ErrShort
	}
	switch m := Method(b[1]); m {
	case MethodNone, MethodPassword:
		return m, 2, nil
	case methodRefused:
		return 0, 0, errMethods
	default:
		return 0, 0, fmt.Errorf("%w: it chose the method %#02x, which was not offered", ErrBadAnswer, b[1])
	}
}

// AppendPassword appends user name and password, each of at most 255 bytes.
func AppendPassword(b []byte, username, password string) []byte {
	b = append(b, versionA, byte(len(username)))
	b = append(b, username...)
	b = append(b, byte(len(password)))
	return append(b, password...)
}

// ParsePassword decodes the answer to AppendPassword and returns its length in bytes.
//
//	| version 1 | status 1, 0 is success |
func ParsePassword(b []byte) (struct{}, int, error) {
	switch {
	case len(b) < 2:
		return struct{}{}, 0, ErrShort
	case b[1] != 0: // some servers write 5 for the version
		return struct{}{}, 0, errCredentials
	}
	return struct{}{}, 2, nil
}

// AppendRequest appends a request of SOCKS 5.
func AppendRequest(b []byte, command Command, dst M.Socksaddr) []byte {
	b = append(b, version5, byte(command), 0)
	return address.AppendS(b, dst)
}

// replies are RFC 1928 §6.
var replies = [...]string{
	1: "general failure", 2: "not allowed by its rules", 3: "network unreachable", 4: "host unreachable",
	5: "connection refused", 6: "TTL expired", 7: "command not supported", 8: "address type not supported",
}

// ParseReply decodes the answer to AppendRequest and returns its length in bytes. The address is where
// the server listens or connects from; it may mean nothing.
//
//	| version 5 | reply 1 | 0 | S-ADDR 7..259 |
func ParseReply(b []byte) (M.Socksaddr, int, error) {
	if len(b) > 0 && b[0] != version5 {
		return M.Socksaddr{}, 0, fmt.Errorf("%w 5: it begins with the byte %#02x", ErrBadAnswer, b[0])
	}
	if len(b) < 2 {
		return M.Socksaddr{}, 0, ErrShort
	}
	if code := int(b[1]); code != 0 {
		if code < len(replies) {
			return M.Socksaddr{}, 0, fmt.Errorf("%w: %s", ErrRefused, replies[code])
		}
		return M.Socksaddr{}, 0, fmt.Errorf("%w: reply %d", ErrRefused, code)
	}
	if len(b) < 5 {
		return M.Socksaddr{}, 0, ErrShort
	}
	if b[3] == 3 && b[4] == 0 { // an empty host, from servers that have nothing to say
		if len(b) < 7 {
			return M.Socksaddr{}, 0, ErrShort
		}
		return M.Socksaddr{Port: binary.BigEndian.Uint16(b[5:])}, 7, nil
	}
	addr, n, err := address.ParseS(b[3:], "")
	if errors.Is(err, wire.ErrBadRequest) {
		err = fmt.Errorf("%w 5: malformed address", ErrBadAnswer)
	}
	if err != nil {
		return M.Socksaddr{}, 0, err
	}
	return addr, 3 + n, nil
}

// AppendRequest4 appends a CONNECT of SOCKS 4, or of 4a when dst is a host. An IPv6 address has no form
// there: it becomes a host too.
func AppendRequest4(b []byte, dst M.Socksaddr, username string) []byte {
	b = append(b, version4, byte(CommandConnect))
	b = binary.BigEndian.AppendUint16(b, dst.Port)
	addr := dst.Addr.Unmap()
	if addr.Is4() {
		b = append(b, addr.AsSlice()...)
	} else {
		b = append(b, 0, 0, 0, 1)
	}
	b = append(b, username...)
	b = append(b, 0)
	if !addr.Is4() {
		b = append(b, dst.AddrString()...)
		b = append(b, 0)
	}
	return b
}

// replies4 begin with reply 91.
var replies4 = [...]string{"request rejected", "it cannot reach the client's identd", "identd names another user"}

// ParseReply4 decodes the answer to AppendRequest4 and returns its length in bytes.
//
//	| 0 | reply 1, 90 is success | port 2 | IPv4 4 |
func ParseReply4(b []byte) (struct{}, int, error) {
	if len(b) > 0 && b[0] != 0 {
		return struct{}{}, 0, fmt.Errorf("%w 4: it begins with the byte %#02x", ErrBadAnswer, b[0])
	}
	if len(b) > 1 && b[1] != 90 {
		if i := int(b[1]) - 91; i >= 0 && i < len(replies4) {
			return struct{}{}, 0, fmt.Errorf("%w: %s", ErrRefused, replies4[i])
		}
		return struct{}{}, 0, fmt.Errorf("%w: reply %d", ErrRefused, b[1])
	}
	if len(b) < 8 {
		return struct{}{}, 0, ErrShort
	}
	return struct{}{}, 8, nil
}

// datagramHead is what comes before the address of a datagram: reserved 2, fragment 1.
const datagramHead = 3

// MaxDatagramHeader bounds what AppendDatagram appends, in bytes.
const MaxDatagramHeader = datagramHead + address.Max

// DatagramHeader is how many bytes AppendDatagram appends.
func DatagramHeader(dst M.Socksaddr) int { return datagramHead + address.Size(dst) }

// AppendDatagram appends the header of a datagram to dst; the payload follows.
func AppendDatagram(b []byte, dst M.Socksaddr) []byte {
	return address.AppendS(append(b, 0, 0, 0), dst)
}

// ParseDatagram decodes the header of a datagram and returns its length in bytes. Fragments, which
// nobody sends, are errors. hint is a host of an earlier call or "".
func ParseDatagram(b []byte, hint string) (M.Socksaddr, int, error) {
	if len(b) < datagramHead {
		return M.Socksaddr{}, 0, ErrShort
	}
	if b[2] != 0 {
		return M.Socksaddr{}, 0, fmt.Errorf("%w 5: a fragment", ErrBadAnswer)
	}
	addr, n, err := address.ParseS(b[datagramHead:], hint)
	return addr, datagramHead + n, err
}

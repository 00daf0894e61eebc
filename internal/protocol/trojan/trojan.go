// Package trojan encodes and decodes Trojan: the request and the packet frames of UDP ASSOCIATE.
// There is no answer from the server.
//
// Source: https://trojan-gfw.github.io/trojan/protocol
package trojan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire"
)

// KeySize is the length of a Key in bytes.
const KeySize = 2 * sha256.Size224

// MaxRequest bounds the length of a request in bytes.
const MaxRequest = KeySize + 2 + 1 + address.Max + 2

// Command says what the client wants.
type Command uint8

// Commands.
const (
	CommandTCP Command = 1
	CommandUDP Command = 3

	commandMux = 0x7f // trojan-go's smux, which we do not speak
)

// Errors of ParseRequest. All but ErrShort wrap ErrBadRequest.
var (
	ErrShort      = wire.ErrShort
	ErrBadRequest = wire.ErrBadRequest
	// ErrMux says that the client speaks trojan-go's own mux (command 0x7f), which nobody else does.
	ErrMux     = fmt.Errorf("%w: trojan-go's mux (command 0x7f) is not supported", ErrBadRequest)
	errKey     = fmt.Errorf("%w: key is not lower case hex", ErrBadRequest)
	errCRLF    = fmt.Errorf("%w: no CRLF", ErrBadRequest)
	errCommand = fmt.Errorf("%w: unknown command", ErrBadRequest)
)

// Key is what a client sends to authenticate: the lower case hex of SHA-224(password).
type Key [KeySize]byte

// KeyOf returns the key of password, which is used as it is: the case and dashes of a UUID count.
func KeyOf(password string) (k Key) {
	sum := sha256.Sum224([]byte(password))
	hex.Encode(k[:], sum[:])
	return k
}

// Request is what a client sends first.
type Request struct {
	Key         Key
	Command     Command     // TCP or UDP
	Destination M.Socksaddr // only a hint for command UDP: each frame has its own
}

// ParseRequest decodes the request at the start of b and returns its length in bytes; what follows in
// b is payload. It keeps no reference to b.
//
// While b is only a prefix of a request the error is ErrShort: read more and call again. Every other
// error wraps ErrBadRequest and is final: it comes with the first byte that cannot be right.
//
//	| key 56 | CRLF 2 | command 1 | S-ADDR 7..259 | CRLF 2 | payload ... |
func ParseRequest(b []byte) (req Request, n int, err error) {
	for _, c := range b[:min(len(b), KeySize)] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return Request{}, 0, errKey
		}
	}
	if len(b) <= KeySize {
		return Request{}, 0, ErrShort
	}
	n = KeySize
	if err := crlf(b[n:]); err != nil {
		return Request{}, 0, err
	}
	n += 2
	if len(b) == n {
		return Request{}, 0, ErrShort
	}
	req.Key = Key(b[:KeySize])
	req.Command = Command(b[n])
	n++
	switch req.Command {
	case CommandTCP, CommandUDP:
	case commandMux:
		return Request{}, 0, ErrMux
	default:
		return Request{}, 0, errCommand
	}
	addr, size, err := address.ParseS(b[n:], "")
	if err != nil {
		return Request{}, 0, err
	}
	n += size
	if err := crlf(b[n:]); err != nil {
		return Request{}, 0, err
	}
	req.Destination = addr
	return req, n + 2, nil
}

// crlf checks that b starts with CRLF.
func crlf(b []byte) error {
	switch {
	case len(b) > 0 && b[0] != '\r' || len(b) > 1 && b[1] != '\n':
		return errCRLF
	case len(b) < 2:
		return ErrShort
	}
	return nil
}

// AppendRequest appends req to b.
func AppendRequest(b []byte, req Request) []byte {
	b = append(b, req.Key[:]...)
	b = append(b, '\r', '\n', byte(req.Command))
	b = address.AppendS(b, req.Destination)
	return append(b, '\r', '\n')
}

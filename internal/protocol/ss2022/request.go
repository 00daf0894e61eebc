package ss2022

import (
	"encoding/binary"
	"fmt"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/shadowsocks"
)

// fixedSize is the plain fixed header of a request: type, time, length of the variable header.
const fixedSize = 1 + 8 + 2

// RequestSize is how many bytes come before the variable header of a request: salt, identity header
// when there is one, sealed fixed header. A client sends them in one piece, at least.
func (m Method) RequestSize(identity bool) int {
	n := m.KeySize() + fixedSize + tagSize
	if identity {
		n += blockLen
	}
	return n
}

// Request is what the fixed header of a stream says.
type Request struct {
	Unix int64 // the client's clock
	salt [MaxKeySize]byte
	size int // of the sealed variable header
	half shadowsocks.Half
}

// Identify decrypts the identity header of a request, which has its whole RequestSize, with the
// server's key. The result is for a lookup: anybody can send any.
//
//	| salt | identity header: AES block of the hash of the user's key | …
func Identify(m Method, serverKey, b []byte) Hash {
	salt, header := b[:m.KeySize()], b[m.KeySize():m.KeySize()+blockLen]
	var hash Hash
	newBlock(derive(identityContext, serverKey, salt)).Decrypt(hash[:], header)
	return hash
}

// OpenRequest opens the fixed header of a request, which has its whole RequestSize, with the key of the
// user, and returns its length in bytes. It keeps no reference to b.
//
//	| salt | identity header 16, with several users | sealed: type 0, time u64be, length u16be |
func OpenRequest(m Method, key, b []byte, identity bool) (*Request, int, error) {
	n := m.RequestSize(identity)
	if len(b) < n {
		return nil, 0, ErrShort
	}
	r := &Request{half: shadowsocks.NewHalf(m.session(key, b[:m.KeySize()]), MaxPayload)}
	copy(r.salt[:], b[:m.KeySize()])
	var plain [fixedSize + tagSize]byte
	fixed, err := r.half.Open(plain[:], b[n-fixedSize-tagSize:n])
	if err != nil {
		return nil, 0, fmt.Errorf("%w: it does not open", ErrRequest)
	}
	if fixed[0] != typeRequest {
		return nil, 0, fmt.Errorf("%w: type %d", ErrRequest, fixed[0])
	}
	unix := binary.BigEndian.Uint64(fixed[1:])
	if unix > 1<<62 { // nothing that a difference of times could stand
		return nil, 0, fmt.Errorf("%w: time %d", ErrRequest, unix)
	}
	r.Unix = int64(unix)
	r.size = int(binary.BigEndian.Uint16(fixed[9:])) + tagSize
	return r, n, nil
}

// ParseVariable decodes the variable header of a request, which b is whole: its destination, and how
// many bytes come before the payload.
//
//	| address S-ADDR | padding length u16be 0..900 | padding | payload |
//
// Source: SIP022 §3.1.3: one without payload has to be padded.
func ParseVariable(b []byte) (M.Socksaddr, int, error) {
	dst, n, err := address.ParseS(b, "")
	if err != nil {
		return M.Socksaddr{}, 0, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if len(b) < n+2 {
		return M.Socksaddr{}, 0, fmt.Errorf("%w: no length of padding", ErrRequest)
	}
	padding := int(binary.BigEndian.Uint16(b[n:]))
	n += 2 + padding
	switch {
	case padding > MaxPadding, n > len(b):
		return M.Socksaddr{}, 0, fmt.Errorf("%w: %d bytes of padding", ErrRequest, padding)
	case padding == 0 && n == len(b):
		return M.Socksaddr{}, 0, fmt.Errorf("%w: neither padding nor payload", ErrRequest)
	}
	return dst, n, nil
}

// AppendVariable appends a variable header with padding of zeros, and the payload.
func AppendVariable(b []byte, dst M.Socksaddr, padding int, payload []byte) []byte {
	b = address.AppendS(b, dst)
	b = binary.BigEndian.AppendUint16(b, uint16(padding))
	b = append(b, make([]byte, padding)...)
	return append(b, payload...)
}

package ss2022

import (
	"bytes"
	"encoding/binary"
	"fmt"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/shadowsocks"
	"heki/internal/protocol/wire"
)

// responseSize is the plain fixed header of a response, its salt apart: type, time, length of the
// first payload.
const responseSize = 1 + 8 + 2

// NewServerConn answers the request r on conn, from which that was taken. The next thing to read is the
// variable header: see ReadVariable. salt is random and KeySize bytes long, unix the clock, in
// seconds, and pool may be nil.
func NewServerConn(conn wire.Conn, m Method, key []byte, r *Request, salt []byte, unix func() int64, pool wire.Pool) *shadowsocks.Conn {
	out := shadowsocks.NewHalf(m.session(key, salt), MaxPayload)
	c := shadowsocks.NewConn(conn, &r.half, out, responsePreface(m, r, salt, unix), pool)
	c.Reader().Expect(r.size)
	return c
}

// responsePreface is a salt and the header in which the first payload has its length.
//
//	| salt | sealed: type 1, time u64be, salt of the request, length u16be | sealed: payload |
func responsePreface(m Method, r *Request, salt []byte, unix func() int64) shadowsocks.Preface {
	request := r.salt[:m.KeySize()]
	return shadowsocks.Preface{
		Most: len(salt) + responseSize + len(request) + tagSize,
		Append: func(b []byte, h *shadowsocks.Half, n int) []byte {
			b = append(b, salt...)
			at := len(b)
			b = append(b, typeResponse)
			b = binary.BigEndian.AppendUint64(b, uint64(unix()))
			b = append(b, request...)
			b = binary.BigEndian.AppendUint16(b, uint16(n))
			return h.Seal(b[:at], b[at:])
		},
	}
}

// ReadVariable reads the variable header of the request from c and returns its destination. A payload
// that came with it is what c reads next.
func ReadVariable(c *shadowsocks.Conn) (M.Socksaddr, error) {
	b, err := c.Reader().WaitChunk()
	if err != nil {
		return M.Socksaddr{}, err
	}
	dst, n, err := ParseVariable(b.Bytes())
	if err != nil {
		n = b.Len()
	}
	b.Advance(n)
	c.Reader().Unread(b)
	return dst, err
}

// NewClientConn is the client's end on conn, on which the request r, of SealRequest, was sent already
// or goes out now. unix is the clock, in seconds, and pool may be nil.
func NewClientConn(conn wire.Conn, m Method, key []byte, r *Request, unix func() int64, pool wire.Pool) *shadowsocks.Conn {
	in := &response{method: m, key: key, salt: r.salt[:m.KeySize()], unix: unix}
	return shadowsocks.NewConn(conn, in, r.half, shadowsocks.Preface{}, pool)
}

// response is what a client reads: the first length is in a header that names the request.
type response struct {
	shadowsocks.Half
	method    Method
	key, salt []byte
	unix      func() int64
	begun     bool
}

// Size implements chunk.Opener.
func (r *response) Size() int {
	if r.begun {
		return r.Half.Size()
	}
	return r.method.KeySize() + responseSize + len(r.salt) + tagSize
}

// Length implements chunk.Opener.
func (r *response) Length(field []byte) (int, error) {
	if r.begun {
		return r.Half.Length(field)
	}
	salt, sealed := field[:r.method.KeySize()], field[r.method.KeySize():]
	r.Half, r.begun = shadowsocks.NewHalf(r.method.session(r.key, salt), MaxPayload), true
	plain, err := r.Open(sealed, sealed)
	if err != nil {
		return 0, err
	}
	at, n := int64(binary.BigEndian.Uint64(plain[1:])), len(plain)
	if plain[0] != typeResponse || !bytes.Equal(plain[9:n-2], r.salt) || !Fresh(at, r.unix()) {
		return 0, fmt.Errorf("%w: the response is another's or an old one", ErrRequest)
	}
	return int(binary.BigEndian.Uint16(plain[n-2:])) + tagSize, nil
}

// Fresh says whether a clock is near enough to ours. Both are unix seconds.
func Fresh(theirs, ours int64) bool {
	off := theirs - ours
	return off >= -Window && off <= Window
}

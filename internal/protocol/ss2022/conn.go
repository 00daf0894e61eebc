package ss2022

import (
	"encoding/binary"

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

// Fresh says whether a clock is near enough to ours. Both are unix seconds.
func Fresh(theirs, ours int64) bool {
	off := theirs - ours
	return off >= -Window && off <= Window
}

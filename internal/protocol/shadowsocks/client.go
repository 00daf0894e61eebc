package shadowsocks

import (
	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire"
)

// NewClientConn is the client's end on conn to dst, which goes out with the first write, in one chunk
// with it; a write of nothing sends it alone. salt is random and KeySize bytes long. pool may be nil.
func NewClientConn(conn wire.Conn, m Method, k *Key, salt []byte, dst M.Socksaddr, pool wire.Pool) *Conn {
	preface := SaltPreface(salt)
	preface.Lead = func(int) []byte { return address.AppendS(nil, dst) }
	return newClientConn(conn, m, k, salt, preface, pool)
}

func newClientConn(conn wire.Conn, m Method, k *Key, salt []byte, preface Preface, pool wire.Pool) *Conn {
	return NewConn(conn, &answer{method: m, key: k}, m.newHalf(k, salt), preface, pool)
}

// answer is what a client reads: the salt comes with the first length.
type answer struct {
	Half
	method Method
	key    *Key
}

// Size implements chunk.Opener.
func (a *answer) Size() int {
	if a.aead == nil {
		return a.method.KeySize() + sealedLength
	}
	return sealedLength
}

// Length implements chunk.Opener.
func (a *answer) Length(field []byte) (int, error) {
	if a.aead == nil {
		n := a.method.KeySize()
		a.Half = a.method.newHalf(a.key, field[:n])
		field = field[n:]
	}
	return a.Half.Length(field)
}

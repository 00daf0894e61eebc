package wire

import (
	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"
)

// Pool lends the buffers of a connection's data path.
type Pool interface {
	// Get returns an empty buffer with at least n bytes free. Room that it reserved behind those is
	// opened to writers once it is filled.
	Get(n int) *buf.Buffer
	// Put takes a buffer of Get back after it was released.
	Put(b *buf.Buffer)
}

// SingPool is sing's own, for those who bring none. It allocates a header for each buffer.
type SingPool struct {
	Options N.ReadWaitOptions // room around what it lends
}

// Get implements Pool.
func (p *SingPool) Get(n int) *buf.Buffer { return NewBuffer(n, p.Options) }

// Put implements Pool.
func (p *SingPool) Put(*buf.Buffer) {}

// Filled opens the reserved rear room of a buffer of a Pool.
func Filled(b *buf.Buffer) *buf.Buffer {
	if n := b.RawCap() - b.Cap(); n > 0 {
		b.OverCap(n)
	}
	return b
}

// Give ends a buffer of p that nobody else has.
func Give(p Pool, b *buf.Buffer) {
	b.Release()
	p.Put(b)
}

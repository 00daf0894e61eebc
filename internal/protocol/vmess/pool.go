package vmess

import (
	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"

	"heki/internal/protocol/wire"
)

// Pool lends the buffers of a connection's data path.
type Pool interface {
	// Get returns an empty buffer with at least n bytes free. Room that it reserved behind those is
	// opened to writers once it is filled.
	Get(n int) *buf.Buffer
	// Put takes a buffer of Get back after it was released.
	Put(b *buf.Buffer)
}

// singPool is sing's own, for those who bring none. It allocates a header for each buffer.
type singPool struct{ options N.ReadWaitOptions }

func (p *singPool) Get(n int) *buf.Buffer { return wire.NewBuffer(n, p.options) }

func (p *singPool) Put(*buf.Buffer) {}

// filled opens the reserved rear room of a buffer of Get.
func filled(b *buf.Buffer) *buf.Buffer {
	if n := b.RawCap() - b.Cap(); n > 0 {
		b.OverCap(n)
	}
	return b
}

// give ends a buffer of Get that nobody else has.
func give(p Pool, b *buf.Buffer) {
	b.Release()
	p.Put(b)
}

package vmess

import (
	"github.com/sagernet/sing/common/buf"

	"heki/internal/netio"
)

// pool lends netio's buffers to the codec.
type pool struct{}

// Get implements vmess.Pool.
func (pool) Get(n int) *buf.Buffer {
	switch {
	case n <= netio.BufferSize:
		return netio.Get()
	case n <= netio.PacketSize:
		return netio.GetPacket()
	}
	return buf.NewSize(n)
}

// Put implements vmess.Pool.
func (pool) Put(b *buf.Buffer) {
	if b.RawCap() > netio.PacketSize+2*netio.Headroom {
		return // released already
	}
	netio.Put(b)
}

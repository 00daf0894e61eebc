package netio

import "github.com/sagernet/sing/common/buf"

// Pool lends this package's buffers to the codecs. It implements wire.Pool.
type Pool struct{}

// Get returns an empty buffer with at least n bytes free, for Put.
func (Pool) Get(n int) *buf.Buffer {
	switch {
	case n <= BufferSize:
		return Get()
	case n <= PacketSize:
		return GetPacket()
	}
	return buf.NewSize(n)
}

// Put takes back a buffer of Get, which was released.
func (Pool) Put(b *buf.Buffer) {
	if b.RawCap() > rawPacket {
		return // released already
	}
	Put(b)
}

// Package netio is what the data path is built from: pooled buffers that are taken only when data
// is there, connections that can look ahead, half-close, and splice.
//
// Buffers. Everything that moves bytes uses sing's *buf.Buffer, and the ones of Get and GetPacket
// cost no allocation: they come from a pool as a whole. Their Release does nothing; whoever took one
// gives it back with Put once the write it was for has returned. So a WriteBuffer or WritePacket may
// use the room before and behind the payload (Headroom bytes each), must call Release as sing's
// contract says, and must not keep the buffer after it returned.
package netio

import (
	"sync"

	"github.com/sagernet/sing/common/buf"
	N "github.com/sagernet/sing/common/network"
)

const (
	// Headroom is the room in bytes before and behind the payload of a pooled buffer.
	Headroom = 128
	// BufferSize is the payload of a stream buffer: 32 KiB, the best batch that was measured.
	BufferSize = 32 << 10
	// PacketSize is the payload of a packet buffer: any datagram fits.
	PacketSize = 64 << 10

	// The sizes tell our buffers from sing's, which are pooled piecewise.
	rawSmall  = Headroom + smallRead + Headroom
	rawBuffer = Headroom + BufferSize + Headroom
	rawPacket = Headroom + PacketSize + Headroom
)

var (
	smalls  = sync.Pool{New: func() any { return buf.With(make([]byte, rawSmall)) }}
	buffers = sync.Pool{New: func() any { return buf.With(make([]byte, rawBuffer)) }}
	packets = sync.Pool{New: func() any { return buf.With(make([]byte, rawPacket)) }}
)

// Room is what waiters that make their own buffers are asked for.
var Room = N.ReadWaitOptions{FrontHeadroom: Headroom, RearHeadroom: Headroom}

// Get lends an empty stream buffer: BufferSize bytes free, Headroom on both sides.
// After reading into it call Filled, which makes the rear room usable to writers.
func Get() *buf.Buffer { return prepare(buffers.Get().(*buf.Buffer)) }

// GetPacket lends an empty packet buffer: PacketSize bytes free, Headroom on both sides.
func GetPacket() *buf.Buffer { return prepare(packets.Get().(*buf.Buffer)) }

// GetSmall lends an empty buffer for little data: 2 KiB free, Headroom on both sides. Like those of Get,
// it is for Put.
func GetSmall() *buf.Buffer { return prepare(smalls.Get().(*buf.Buffer)) }

func prepare(b *buf.Buffer) *buf.Buffer {
	b.Reset()
	b.Resize(Headroom, 0)
	b.Reserve(Headroom)
	return b
}

// Filled opens the rear room of a buffer from Get or GetPacket that was read into.
func Filled(b *buf.Buffer) *buf.Buffer {
	if n := b.RawCap() - b.Cap(); n > 0 {
		b.OverCap(n)
	}
	return b
}

// Put gives a buffer back. Buffers that are not from this package are released.
func Put(b *buf.Buffer) {
	if b == nil {
		return
	}
	switch b.RawCap() {
	case rawSmall:
		smalls.Put(b)
	case rawBuffer:
		buffers.Put(b)
	case rawPacket:
		packets.Put(b)
	default:
		b.Release()
	}
}

// Clone returns a copy of b's bytes, at most PacketSize, in the smallest buffer of the pool that holds
// them.
func Clone(b *buf.Buffer) *buf.Buffer {
	var c *buf.Buffer
	switch n := b.Len(); {
	case n <= smallRead:
		c = GetSmall()
	case n <= BufferSize:
		c = Get()
	default:
		c = GetPacket()
	}
	_, _ = c.Write(b.Bytes())
	return Filled(c)
}

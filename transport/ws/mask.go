package ws

import (
	"encoding/binary"
	"math/bits"
)

// unmask applies the key to b in place and returns the key for the byte after b. The key is the four
// bytes of a frame's header read as little endian.
func unmask(b []byte, key uint32) uint32 {
	k := uint64(key)<<32 | uint64(key)
	for len(b) >= 32 {
		w := b[:32]
		binary.LittleEndian.PutUint64(w, binary.LittleEndian.Uint64(w)^k)
		binary.LittleEndian.PutUint64(w[8:], binary.LittleEndian.Uint64(w[8:])^k)
		binary.LittleEndian.PutUint64(w[16:], binary.LittleEndian.Uint64(w[16:])^k)
		binary.LittleEndian.PutUint64(w[24:], binary.LittleEndian.Uint64(w[24:])^k)
		b = b[32:]
	}
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(key)
		key = bits.RotateLeft32(key, -8)
	}
	return key
}

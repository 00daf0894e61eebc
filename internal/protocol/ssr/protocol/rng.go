package protocol

import (
	"encoding/binary"
	"slices"
)

// rng is xorshift128+ with 64-bit words that wrap (ssr.md §7.3).
type rng struct{ v0, v1 uint64 }

func newRNG(b [16]byte) rng {
	return rng{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
}

// newRNGLen is newRNG of b with n for its first two bytes, four outputs on.
func newRNGLen(b [16]byte, n int) rng {
	binary.LittleEndian.PutUint16(b[:], uint16(n))
	r := newRNG(b)
	for range 4 {
		r.next()
	}
	return r
}

func (r *rng) next() uint64 {
	x, y := r.v0, r.v1
	r.v0 = y
	x ^= x << 23
	x ^= y ^ x>>17 ^ y>>26
	r.v1 = x
	return x + y
}

// intn is next() % n.
func (r *rng) intn(n int) int { return int(r.next() % uint64(n)) }

// pick returns where the data of a frame begins in its padding: pad is at least 1.
func (r *rng) pick(pad int) int {
	return int(r.next() % 8589934609 % uint64(pad)) // a prime just above 2^33
}

// size is an entry of the tables of sizes.
func (r *rng) size() int { return int(r.next() % 2340 % 2040 % 1440) }

// sizes returns n sizes in order.
func (r *rng) sizes(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = r.size()
	}
	slices.Sort(list)
	return list
}

// seed16 is the start of key, which has at least 16 bytes for every cipher.
func seed16(key []byte) (b [16]byte) {
	copy(b[:], key)
	return b
}

// search is the index of the first entry that is at least v, len(list) when there is none.
func search(list []int, v int) int {
	i, _ := slices.BinarySearch(list, v)
	return i
}

// spread is the padding of n bytes by their number alone.
func (r *rng) spread(n int) int {
	switch {
	case n > 1300:
		return r.intn(31)
	case n > 900:
		return r.intn(127)
	case n > 400:
		return r.intn(521)
	}
	return r.intn(1021)
}

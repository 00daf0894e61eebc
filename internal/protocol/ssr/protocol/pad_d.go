package protocol

import "slices"

// enough is the size that the largest of a table should reach, and tableMost how long that makes it.
const (
	enough    = 1300
	tableMost = 64
)

// padderD is auth_chain_d: as auth_chain_c, with a table that reaches further and nothing beyond it.
type padderD struct{ l0 []int }

// longTable is the table of auth_chain_d to f.
func longTable(seed [16]byte) []int {
	r := newRNG(seed)
	list := r.sizes(r.intn(24) + 12)
	// The test looks at what was appended last, which need not be the largest: that is the protocol.
	for list[len(list)-1] < enough && len(list) < tableMost {
		list = append(list, r.size())
	}
	slices.Sort(list)
	return list
}

func newPadderD(key []byte, _ int, _ uint32) padder { return padderD{longTable(seed16(key))} }

func (p padderD) pad(last [16]byte, n, overhead int) (int, rng) {
	whole := n + overhead
	if whole >= p.l0[len(p.l0)-1] {
		return 0, rng{}
	}
	r, first := newRNGLen(last, n), search(p.l0, whole)
	return p.l0[first+r.intn(len(p.l0)-first)] - whole, r
}

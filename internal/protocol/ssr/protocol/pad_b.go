package protocol

// padderB is auth_chain_b: frames take one of a few sizes of the port, else a padding by length.
type padderB struct{ l1, l2 []int }

func newPadderB(key []byte, _ int, _ uint32) padder {
	r := newRNG(seed16(key))
	l1 := r.sizes(r.intn(8) + 4)
	return padderB{l1, r.sizes(r.intn(16) + 8)}
}

func (p padderB) pad(last [16]byte, n, overhead int) (int, rng) {
	if n >= 1440 {
		return 0, rng{}
	}
	r, whole := newRNGLen(last, n), n+overhead
	if i := search(p.l1, whole) + r.intn(len(p.l1)); i < len(p.l1) {
		return p.l1[i] - whole, r
	}
	first := search(p.l2, whole)
	i := first + r.intn(len(p.l2))
	switch {
	case i < len(p.l2):
		return p.l2[i] - whole, r
	case i < first+len(p.l2)-1:
		return 0, r
	}
	return r.spread(n), r
}

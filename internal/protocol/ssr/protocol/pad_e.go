package protocol

// padderE is auth_chain_e: the next size of the table of auth_chain_d.
type padderE struct{ l0 []int }

func newPadderE(key []byte, _ int, _ uint32) padder { return padderE{longTable(seed16(key))} }

func (p padderE) pad(last [16]byte, n, overhead int) (int, rng) {
	whole := n + overhead
	if whole >= p.l0[len(p.l0)-1] {
		return 0, rng{}
	}
	return p.l0[search(p.l0, whole)] - whole, newRNGLen(last, n)
}

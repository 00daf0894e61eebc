package protocol

// padderC is auth_chain_c: frames take a size of the port that is large enough, else a padding by
// length. The reference server, unlike all clients, goes by the length with overhead there: see
// ssr.md §7.4.
type padderC struct{ l0 []int }

func newPadderC(key []byte, _ int, _ uint32) padder {
	r := newRNG(seed16(key))
	return padderC{r.sizes(r.intn(24) + 12)}
}

func (p padderC) pad(last [16]byte, n, overhead int) (int, rng) {
	return p.padUnder(last, n, overhead, 1440)
}

// disputed is the one length at which clients differ: the C# client has no padding there.
const disputed = 1440

// padOther is what clients in C have for disputed bytes of data.
func (p padderC) padOther(last [16]byte, n, overhead int) (int, rng) {
	return p.padUnder(last, n, overhead, 1441)
}

// padUnder is pad where data of limit bytes and more has no padding.
func (p padderC) padUnder(last [16]byte, n, overhead, limit int) (int, rng) {
	r, whole := newRNGLen(last, n), n+overhead
	if whole >= p.l0[len(p.l0)-1] {
		if n >= limit {
			return 0, r
		}
		return r.spread(n), r
	}
	first := search(p.l0, whole)
	return p.l0[first+r.intn(len(p.l0)-first)] - whole, r
}

// most keeps out of the lengths that not all implementations agree on.
func (p padderC) most(n, overhead int) int {
	for _, limit := range [...]int{400, 900, 1300, disputed} {
		if n > limit-overhead && n <= limit {
			return limit - overhead
		}
	}
	return n
}

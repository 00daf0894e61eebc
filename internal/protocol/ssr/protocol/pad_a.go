package protocol

// padder says how much padding a frame has, which both ends compute. auth_chain_a to f differ in it.
type padder interface {
	// pad returns the padding of a frame with n bytes of data after one whose hash was last, in
	// bytes, and the generator that the data's place is drawn from.
	pad(last [16]byte, n, overhead int) (int, rng)
}

// padderA is auth_chain_a: by length alone.
type padderA struct{}

func newPadderA([]byte, int, uint32) padder { return padderA{} }

func (padderA) pad(last [16]byte, n, _ int) (int, rng) {
	if n > 1440 {
		return 0, rng{} // not asked: a place is drawn where there is padding
	}
	r := newRNGLen(last, n)
	return r.spread(n), r
}

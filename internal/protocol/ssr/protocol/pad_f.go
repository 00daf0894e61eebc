package protocol

import "encoding/binary"

// newPadderF is auth_chain_f: auth_chain_e with a table that changes with the client's time, every
// interval seconds.
func newPadderF(key []byte, interval int, utc uint32) padder {
	seed := seed16(key)
	at := seed[:8]
	binary.BigEndian.PutUint64(at, binary.BigEndian.Uint64(at)^uint64(utc)/uint64(interval))
	return padderE{longTable(seed)}
}

package vless

import "encoding/binary"

// The addons are a protobuf message of at most 255 bytes: field 1 string Flow, field 2 bytes Seed.
const (
	tagFlow = 1<<3 | typeBytes

	typeVarint  = 0
	typeFixed64 = 1
	typeBytes   = 2
	typeFixed32 = 5
)

// parseAddons returns the flow. Fields it does not know are skipped by their wire type, since newer
// clients add some; it reports false when even that is impossible.
func parseAddons(b []byte) (flow string, ok bool) {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return "", false
		}
		b = b[n:]
		size, n := fieldSize(b, tag)
		if size < 0 || size > len(b)-n {
			return "", false
		}
		if tag == tagFlow {
			flow = flowName(b[n : n+size])
		}
		b = b[n+size:]
	}
	return flow, true
}

// fieldSize returns the size of the value at the start of b and of the length before it, -1 when it
// has none.
func fieldSize(b []byte, tag uint64) (size, prefix int) {
	switch tag & 7 {
	case typeVarint:
		if _, n := binary.Uvarint(b); n > 0 {
			return n, 0
		}
	case typeFixed64:
		return 8, 0
	case typeFixed32:
		return 4, 0
	case typeBytes:
		if size, n := binary.Uvarint(b); n > 0 && size <= 255 {
			return int(size), n
		}
	}
	return -1, 0
}

// flowName avoids the allocation for the flow that everybody sends.
func flowName(b []byte) string {
	if string(b) == FlowVision {
		return FlowVision
	}
	return string(b)
}

// appendAddons appends the addons and the length byte before them.
func appendAddons(b []byte, flow string) []byte {
	if flow == "" || len(flow) > MaxFlow {
		return append(b, 0)
	}
	at := len(b)
	b = append(b, 0, tagFlow)
	b = binary.AppendUvarint(b, uint64(len(flow)))
	b = append(b, flow...)
	b[at] = byte(len(b) - at - 1)
	return b
}

package rule

import (
	"fmt"
	"strconv"
	"strings"
)

// portTable holds port: rules as a sorted list of disjoint ranges.
type portTable struct {
	starts []uint16
	lines  []int32
}

// portLine is a range of ports, both ends in it.
type portLine struct {
	from, to uint16
	line     int32
}

func (t *portTable) empty() bool { return len(t.starts) == 0 }

func (t *portTable) find(port uint16) int32 {
	low, high := 0, len(t.starts)
	for low < high { // the first range that begins after port
		mid := int(uint(low+high) >> 1)
		if port < t.starts[mid] {
			high = mid
		} else {
			low = mid + 1
		}
	}
	if low == 0 {
		return none
	}
	return t.lines[low-1]
}

// newPortTable takes ranges in the order of their lines. Each port is painted once, with its first
// line, so that many overlapping ranges cost no more than few.
func newPortTable(list []portLine) portTable {
	if len(list) == 0 {
		return portTable{}
	}
	const ports = 1 << 16
	paint := make([]int32, ports)
	free := make([]int32, ports+1) // free[p] leads to the first port from p on without paint
	for p := range free {
		free[p] = int32(p)
	}
	next := func(p int32) int32 {
		for free[p] != p {
			free[p] = free[free[p]]
			p = free[p]
		}
		return p
	}
	for p := range paint {
		paint[p] = none
	}
	for _, at := range list {
		for p := next(int32(at.from)); p <= int32(at.to); p = next(p) {
			paint[p], free[p] = at.line, p+1
		}
	}
	var t portTable
	for p, line := range paint {
		if p == 0 || line != paint[p-1] {
			t.starts = append(t.starts, uint16(p))
			t.lines = append(t.lines, line)
		}
	}
	return t
}

// parsePorts reads "80,443,1000-2000".
func parsePorts(s string, line int32) ([]portLine, error) {
	var list []portLine
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		low, err1 := parsePort(from)
		high, err2 := parsePort(to)
		switch {
		case err1 != nil || err2 != nil:
			return nil, fmt.Errorf("has %q, which is not a port; write ports from 1 to 65535 and ranges: 80,443,1000-2000", part)
		case low > high:
			return nil, fmt.Errorf("has the range %s backwards; did you mean %d-%d?", part, high, low)
		}
		list = append(list, portLine{low, high, line})
	}
	return list, nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 16)
	if err == nil && n == 0 {
		return 0, strconv.ErrRange
	}
	return uint16(n), err
}

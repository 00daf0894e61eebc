package geo

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// tree is the search tree of a MaxMind DB: nodes of two records each. A record below the number of
// nodes is a node, that number is nothing, a larger one is data.
// Source: https://maxmind.github.io/MaxMind-DB/, "Binary Search Tree Section".
type tree struct {
	nodes  []byte
	data   values // what records lead to
	count  uint64
	bits   uint // of a record: 24, 28, 32
	v6     bool
	v4Root uint64 // in a tree for IPv6, what ::/96 leads to
}

const (
	marker    = "\xab\xcd\xefMaxMind.com" // before the metadata
	separator = 16                        // zero bytes between tree and data
)

// openTree finds the parts of a file.
func openTree(file []byte) (*tree, error) {
	end := bytes.LastIndex(file, []byte(marker))
	if end < 0 {
		return nil, fmt.Errorf("%w: no MaxMind DB", ErrDamaged)
	}
	meta := values(file[end+len(marker):])
	var numbers [3]uint64
	for i, key := range []string{"node_count", "record_size", "ip_version"} {
		at, ok, err := meta.member(0, key)
		if err == nil && !ok {
			err = fmt.Errorf("%w: no %s in the metadata", ErrDamaged, key)
		}
		if err == nil {
			numbers[i], err = meta.number(at)
		}
		if err != nil {
			return nil, err
		}
	}
	t := &tree{count: numbers[0], bits: uint(numbers[1]), v6: numbers[2] == 6}
	known := t.bits == 24 || t.bits == 28 || t.bits == 32
	if !known || !t.v6 && numbers[2] != 4 || t.count == 0 || t.count > uint64(end) {
		return nil, fmt.Errorf("%w: %d nodes of %d bits for IP version %d", ErrDamaged, numbers[0], numbers[1], numbers[2])
	}
	size := t.count * uint64(t.bits) / 4
	if size+separator > uint64(end) {
		return nil, fmt.Errorf("%w: %d nodes in a file of %d bytes", ErrDamaged, t.count, len(file))
	}
	t.nodes, t.data = file[:size], values(file[size+separator:end])
	for range 96 {
		if !t.v6 || t.v4Root >= t.count {
			break
		}
		t.v4Root = t.record(t.v4Root, 0)
	}
	return t, nil
}

// record returns a record of a node.
func (t *tree) record(node uint64, right uint) uint64 {
	size := uint64(t.bits) / 4
	b := t.nodes[node*size : node*size+size]
	switch t.bits {
	case 24:
		b = b[3*right:]
		return uint64(b[0])<<16 | uint64(b[1])<<8 | uint64(b[2])
	case 28: // the upper bits of both are in the middle
		high := uint64(b[3] >> 4)
		if right == 1 {
			high = uint64(b[3] & 0xf)
			b = b[4:]
		}
		return high<<24 | uint64(b[0])<<16 | uint64(b[1])<<8 | uint64(b[2])
	}
	return uint64(binary.BigEndian.Uint32(b[4*right:]))
}

// step is a record that is still to be looked at, and the way to it.
type step struct {
	addr   [16]byte // IPv4 in the first 4
	depth  int
	record uint64
}

// walk calls each with every network that has data. In a tree for IPv6 the IPv4 networks are found
// once, below ::/96, and not in its copies elsewhere (mapped, 6to4, Teredo).
func (t *tree) walk(each func(p netip.Prefix, record uint64) error) error {
	left := 4*t.count + 64 // a tree has a leaf more than nodes; one that shares some branches is no tree, but can be read
	if err := t.walkFrom(t.v4Root, 32, &left, each); err != nil || !t.v6 {
		return err
	}
	return t.walkFrom(0, 128, &left, each)
}

// walkFrom walks the tree of addresses of so many bits, in at most left steps.
func (t *tree) walkFrom(root uint64, bits int, left *uint64, each func(p netip.Prefix, record uint64) error) error {
	todo := []step{{record: root}}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if *left == 0 {
			return fmt.Errorf("%w: its tree goes in circles", ErrDamaged)
		}
		*left--
		switch {
		case at.record == t.count || bits == 128 && at.record == t.v4Root && t.v4Root < t.count:
			continue
		case at.record > t.count:
			if err := each(at.prefix(bits), at.record); err != nil {
				return err
			}
			continue
		case at.depth == bits:
			return fmt.Errorf("%w: its tree is deeper than an address", ErrDamaged)
		}
		one := step{at.addr, at.depth + 1, t.record(at.record, 1)}
		one.addr[at.depth/8] |= 0x80 >> (at.depth % 8)
		todo = append(todo, one, step{at.addr, at.depth + 1, t.record(at.record, 0)})
	}
	return nil
}

// prefix is the network that the way leads to.
func (s *step) prefix(bits int) netip.Prefix {
	if bits == 32 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(s.addr[:4])), s.depth)
	}
	return netip.PrefixFrom(netip.AddrFrom16(s.addr), s.depth)
}

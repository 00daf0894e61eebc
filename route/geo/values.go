package geo

import "fmt"

// values is a section of a MaxMind DB: values one after the other, found by their offsets.
// Source: https://maxmind.github.io/MaxMind-DB/, "Output Data Section".
type values []byte

// The types of values. Those that are not here have as many bytes as their size says.
const (
	kindPointer = 1
	kindText    = 2
	kindUint16  = 5
	kindUint32  = 6
	kindMap     = 7
	kindUint64  = 9
	kindList    = 11
	kindBool    = 14
)

// maxMembers bounds a map in which something is looked for; a network of GeoIP2 has a dozen members.
const maxMembers = 1024

// control is the head of a value.
type control struct {
	kind byte
	size uint64 // bytes, members, or where a pointer leads to
	next uint64 // offset of what follows the head
}

// head reads the head of the value at an offset.
func (v values) head(at uint64) (control, error) {
	b, err := v.cut(at, 1)
	if err != nil {
		return control{}, err
	}
	c := control{kind: b[0] >> 5, next: at + 1}
	if c.kind == kindPointer {
		return v.pointer(b[0], c)
	}
	c.size = uint64(b[0] & 0x1f)
	if c.kind == 0 { // extended: the type follows
		if b, err = v.cut(c.next, 1); err != nil {
			return control{}, err
		}
		c.kind = b[0] + 7
		c.next++
	}
	if c.size < 29 {
		return c, nil
	}
	n := c.size - 28 // 1 to 3 more bytes of size
	if b, err = v.cut(c.next, n); err != nil {
		return control{}, err
	}
	c.next += n
	c.size = bigEndian(b) + [...]uint64{29, 285, 65821}[n-1]
	return c, nil
}

// pointer reads the rest of a pointer, of which first is the first byte.
func (v values) pointer(first byte, c control) (control, error) {
	n := uint64(first>>3&3) + 1
	b, err := v.cut(c.next, n)
	if err != nil {
		return control{}, err
	}
	c.next += n
	c.size = bigEndian(b)
	if n < 4 {
		c.size |= uint64(first&7) << (8 * n)
	}
	c.size += [...]uint64{0, 2048, 526336, 0}[n-1]
	return c, nil
}

// value reads the head of the value at an offset, or of the one that a pointer there leads to.
func (v values) value(at uint64) (control, error) {
	c, err := v.head(at)
	if err != nil || c.kind != kindPointer {
		return c, err
	}
	if c, err = v.head(c.size); err == nil && c.kind == kindPointer {
		err = fmt.Errorf("%w: a pointer to a pointer", ErrDamaged)
	}
	return c, err
}

// member finds the value of a key in the map at an offset. It is not ok when the map has no such key,
// or the value at the offset is no map.
func (v values) member(at uint64, key string) (offset uint64, ok bool, err error) {
	c, err := v.value(at)
	if err != nil || c.kind != kindMap {
		return 0, false, err
	}
	if c.size > maxMembers {
		return 0, false, fmt.Errorf("%w: a map of %d members, must have at most %d", ErrDamaged, c.size, maxMembers)
	}
	at = c.next
	for range c.size {
		name, err := v.raw(at)
		if err != nil {
			return 0, false, err
		}
		if at, err = v.skip(at); err != nil {
			return 0, false, err
		}
		if string(name) == key {
			return at, true, nil
		}
		if at, err = v.skip(at); err != nil {
			return 0, false, err
		}
	}
	return 0, false, nil
}

// skip returns the offset behind the value at an offset. It does not recurse: lists of lists nest as
// deep as a file says.
func (v values) skip(at uint64) (uint64, error) {
	for left := uint64(1); left > 0; left-- {
		c, err := v.head(at)
		if err != nil {
			return 0, err
		}
		at = c.next
		switch c.kind {
		case kindPointer, kindBool: // their size is their value
		case kindMap:
			left += 2 * c.size
		case kindList:
			left += c.size
		default:
			at += c.size
		}
	}
	return at, nil
}

// text returns the text of at most maxCode bytes at an offset.
func (v values) text(at uint64) (string, error) {
	b, err := v.raw(at)
	if len(b) > maxCode {
		return "", fmt.Errorf("%w: a code of %d bytes", ErrDamaged, len(b))
	}
	return string(b), err
}

// raw returns the bytes of the text at an offset, which are part of v.
func (v values) raw(at uint64) ([]byte, error) {
	c, err := v.value(at)
	if err != nil {
		return nil, err
	}
	if c.kind != kindText {
		return nil, fmt.Errorf("%w: a value of type %d where a text should be", ErrDamaged, c.kind)
	}
	return v.cut(c.next, c.size)
}

// number returns the unsigned number at an offset.
func (v values) number(at uint64) (uint64, error) {
	c, err := v.value(at)
	if err != nil {
		return 0, err
	}
	if c.kind != kindUint16 && c.kind != kindUint32 && c.kind != kindUint64 || c.size > 8 {
		return 0, fmt.Errorf("%w: a value of type %d where a number should be", ErrDamaged, c.kind)
	}
	b, err := v.cut(c.next, c.size)
	return bigEndian(b), err
}

// cut returns n bytes from an offset on.
func (v values) cut(at, n uint64) ([]byte, error) {
	size := uint64(len(v))
	if at > size || n > size-at {
		return nil, fmt.Errorf("%w: %d bytes are announced at %d of %d", ErrDamaged, n, at, size)
	}
	return v[at : at+n], nil
}

func bigEndian(b []byte) uint64 {
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

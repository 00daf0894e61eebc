package vision

import (
	"bytes"
	"encoding/binary"
)

// Unpadder takes the padding off one direction. The zero value is ready.
type Unpadder struct {
	mode    Mode
	head    [headerSize]byte
	have    int // bytes of head
	content int // bytes of the block that are still to come
	padding int
}

// Mode is what the bytes after those of the last Unpad are in.
func (u *Unpadder) Mode() Mode { return u.mode }

// Start looks at the first bytes of the direction and returns how many of them are no block: uuid's
// 16. Without the uuid the peer does not pad: the mode is then ModePlain. While b may still become
// the uuid the error is ErrShort: call again with more.
func (u *Unpadder) Start(b []byte, uuid [uuidSize]byte) (int, error) {
	if n := min(len(b), uuidSize); !bytes.Equal(b[:n], uuid[:n]) {
		u.mode = ModePlain
		return 0, nil
	}
	if len(b) < uuidSize {
		return 0, ErrShort
	}
	return uuidSize, nil
}

// Unpad moves the content of b to its start and returns its length. When the mode changes in b, the
// rest of b is content. Blocks may be cut anywhere. An error is final.
func (u *Unpadder) Unpad(b []byte) (n int, err error) {
	i := 0
	for u.mode == ModePadded && i < len(b) {
		switch {
		case u.have < headerSize:
			k := copy(u.head[u.have:], b[i:])
			u.have += k
			i += k
			if Command(u.head[0]) > CommandDirect {
				return n, errCommand
			}
			if u.have < headerSize {
				return n, nil
			}
			u.content = int(binary.BigEndian.Uint16(u.head[1:]))
			u.padding = int(binary.BigEndian.Uint16(u.head[3:]))
		case u.content > 0:
			k := copy(b[n:], b[i:i+min(u.content, len(b)-i)])
			u.content -= k
			i += k
			n += k
		default:
			k := min(u.padding, len(b)-i)
			u.padding -= k
			i += k
		}
		if u.content == 0 && u.padding == 0 {
			u.next()
		}
	}
	return n + copy(b[n:], b[i:]), nil
}

// next ends a block.
func (u *Unpadder) next() {
	u.have = 0
	switch Command(u.head[0]) {
	case CommandEnd:
		u.mode = ModePlain
	case CommandDirect:
		u.mode = ModeDirect
	}
}

package vision

import "encoding/binary"

// packets is how many chunks of both directions together are looked at for the start of TLS.
const packets = 8

// Filter follows the TLS inside a stream, from its first bytes on, and says when a direction towards
// the client may stop padding. The zero value is not ready; see NewFilter.
//
// Xray wants a write that starts with a record of application data and ends with one, and counts on
// reads that do not cut records. Filter follows the records, so it finds the end of one in any chunk;
// to be no earlier it waits until the client's part of the handshake is over.
type Filter struct {
	packets int
	up      records
	down    records
	hello   serverHello
	ready   bool // the client has finished its handshake, as far as can be seen
}

// NewFilter returns a filter for one stream.
func NewFilter() Filter {
	return Filter{
		packets: packets,
		up:      records{first: handshakeClientHello},
		down:    records{first: handshakeServerHello, exact: true},
	}
}

// TLS reports whether the stream seems to be one of TLS.
func (f *Filter) TLS() bool { return f.up.followed() || f.down.followed() }

// Up looks at a chunk from the client. It keeps no reference to b.
func (f *Filter) Up(b []byte) {
	f.count()
	b = f.enter(&f.up, b)
	if f.up.state != following && f.down.followed() {
		f.ready = true // the start of its handshake was missed, or it is no TLS
	}
	for len(b) > 0 && f.up.state == following {
		n, _ := f.up.next(b)
		b = b[n:]
		if f.up.isAppData() && f.down.followed() {
			f.ready = true
		}
	}
}

// UpEnded says that the client pads no more, so that Up will not see what it sends.
func (f *Filter) UpEnded() { f.ready = true }

// Down looks at a chunk for the client, which is all that goes there, and says how to send it: the
// first n bytes in blocks, of which the last one has the command, and the rest without. It keeps no
// reference to b.
func (f *Filter) Down(b []byte) (command Command, n int) {
	f.count()
	size, end := len(b), 0 // of a record of application data
	rest := f.enter(&f.down, b)
	for len(rest) > 0 && f.down.state == following {
		k, whole := f.down.next(rest)
		f.hello.scan(rest[:k], whole)
		rest = rest[k:]
		if whole && f.down.isAppData() {
			end = size - len(rest)
		}
	}
	switch {
	case f.down.state == lost:
		return CommandEnd, size
	case !f.down.followed():
		if f.packets <= 1 { // one early, for receivers of old
			return CommandEnd, size
		}
	case f.hello.isTLS13():
		switch {
		case !f.ready:
		case !f.hello.mayLeave():
			return CommandEnd, size
		case end > 0:
			return CommandDirect, end
		}
	case f.hello.done && f.down.isAppData():
		return CommandEnd, size
	}
	return CommandContinue, size
}

func (f *Filter) count() {
	if f.packets > 0 {
		f.packets--
	}
}

// enter looks for the start of TLS at the start of a chunk, as long as packets are left. It returns
// what of b is to be followed.
func (f *Filter) enter(r *records, b []byte) []byte {
	if r.state != searching || f.packets == 0 {
		return b
	}
	return b[r.search(b):]
}

const (
	kindChangeCipherSpec = 0x14
	kindHandshake        = 0x16
	kindAppData          = 0x17

	handshakeClientHello = 1
	handshakeServerHello = 2

	recordHeader = 5
	// maxRecord is the longest body of a record: 2^14 + 2048, TLS 1.2.
	maxRecord = 16<<10 + 2048
)

// state of records.
type state uint8

const (
	searching state = iota
	following
	lost // what came is no TLS
)

// records follows the records of one direction.
type records struct {
	state state
	first byte // type of the handshake message that it starts with
	exact bool // the first record says version 3.3

	head [recordHeader + 1]byte // header of the current record, while searching with the byte after it
	have int                    // bytes of head
	left int                    // bytes of the current record that are still to come
}

func (r *records) followed() bool { return r.state != searching }

// isAppData says so of the record that the last byte was of.
func (r *records) isAppData() bool { return r.have >= recordHeader && r.head[0] == kindAppData }

// search tells whether a stream starts at b, or has started in the chunk before, which was shorter
// than the start. It returns how many bytes of b it took when it has found one, else 0.
func (r *records) search(b []byte) int {
	n := copy(r.head[r.have:], b)
	r.have += n
	if !r.plausible() {
		r.have = 0
		return 0
	}
	if r.have < len(r.head) {
		return n
	}
	r.state, r.have = following, recordHeader
	r.left = int(binary.BigEndian.Uint16(r.head[3:])) - 1
	return n
}

// plausible says whether head is the start of a handshake, as far as it is known.
func (r *records) plausible() bool {
	h := r.head[:r.have]
	return (len(h) < 1 || h[0] == kindHandshake) &&
		(len(h) < 2 || h[1] == 3) &&
		(len(h) < 3 || h[2] == 3 || !r.exact) &&
		(len(h) < 5 || h[3] > 0 || h[4] >= 4) && // the head of a message fits
		(len(h) < 6 || h[5] == r.first)
}

// next takes the current record off the start of b, as far as it is there, and says whether it has
// ended. It takes at least a byte, if there is one.
func (r *records) next(b []byte) (n int, whole bool) {
	if r.left == 0 && r.have >= recordHeader { // the one before has ended
		r.have = 0
	}
	if r.have < recordHeader {
		n = copy(r.head[r.have:recordHeader], b)
		if r.have += n; r.have < recordHeader {
			return n, false
		}
		r.left = int(binary.BigEndian.Uint16(r.head[3:]))
		if r.head[0] < kindChangeCipherSpec || r.head[0] > kindAppData || r.head[1] != 3 || r.left > maxRecord {
			r.state = lost
			return n, false
		}
	}
	k := min(r.left, len(b)-n)
	r.left -= k
	return n + k, r.left == 0
}

// Where things stand in a record that starts with a ServerHello.
const (
	helloLength  = recordHeader + 1          // u24be, of the message
	helloSession = recordHeader + 4 + 2 + 32 // length of the session id, then that
	helloCipher  = helloSession + 1          // u16be, behind the session id
	helloBody    = recordHeader + 4          // of the message
	tls13        = 0x002b_0002_0304          // extension supported_versions with TLS 1.3
	tls13Mask    = 0xffff_ffff_ffff          // its six bytes
)

// serverHello finds in a ServerHello what Vision has to know, byte by byte.
type serverHello struct {
	at        int // of the next byte, from the start of its record; 0 is helloLength
	length    int
	session   int
	cipher    uint16
	last      uint64 // the last eight bytes
	version13 bool
	done      bool // the message was seen whole, or TLS 1.3 found
}

// isTLS13 says that the server has chosen TLS 1.3.
func (h *serverHello) isTLS13() bool { return h.version13 }

// mayLeave says whether the cipher is one under which the outer TLS may be left.
func (h *serverHello) mayLeave() bool { return h.cipher >= 0x1301 && h.cipher <= 0x1304 }

// scan takes the next bytes, from helloLength on. whole says that their record ends with them.
func (h *serverHello) scan(b []byte, whole bool) {
	if h.at == 0 {
		h.at = helloLength
	}
	for _, c := range b {
		if h.done {
			return
		}
		h.byte(c)
	}
	if whole {
		h.done = true
	}
}

func (h *serverHello) byte(c byte) {
	switch at := h.at; {
	case at < helloBody:
		h.length = h.length<<8 | int(c)
	case at == helloSession:
		h.session = int(c)
	case at == helloCipher+h.session, at == helloCipher+h.session+1:
		h.cipher = h.cipher<<8 | uint16(c)
	case at > helloCipher+h.session+1:
		h.last = h.last<<8 | uint64(c)
		h.version13 = h.last&tls13Mask == tls13
	}
	h.at++
	h.done = h.version13 || h.at >= helloBody && h.at >= helloBody+h.length
}

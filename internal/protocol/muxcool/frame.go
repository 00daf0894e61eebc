package muxcool

import (
	"encoding/binary"
	"fmt"

	M "github.com/sagernet/sing/common/metadata"

	"heki/internal/protocol/address"
	"heki/internal/protocol/wire"
)

// Status says what a frame is for.
type Status uint8

// Statuses.
const (
	StatusNew       Status = 1
	StatusKeep      Status = 2
	StatusEnd       Status = 3
	StatusKeepAlive Status = 4
)

// Option bits.
const (
	OptionData  = 1 // a length and a payload follow
	OptionError = 2 // with StatusEnd: it ended badly
)

// Network of a session.
type Network uint8

// Networks.
const (
	NetworkTCP Network = 1
	NetworkUDP Network = 2
)

// GlobalID names a client's UDP socket across mux connections. Zero is none.
type GlobalID [8]byte

// Sizes of a frame in bytes.
const (
	minMeta = 4
	maxMeta = 512 // Xray's limit
	fixed   = 2 + minMeta
	endSize = fixed
	// maxHeader bounds what ParseFrame consumes.
	maxHeader = 2 + maxMeta + 2
	// MaxPayload bounds Frame.Length.
	MaxPayload = 65535
)

// Errors of ParseFrame. All but ErrShort wrap ErrBadFrame and are final for the whole connection.
var (
	ErrShort    = wire.ErrShort
	ErrBadFrame = fmt.Errorf("%w: mux frame", wire.ErrBadRequest)
	errMeta     = fmt.Errorf("%w: metadata is not %d to %d bytes", ErrBadFrame, minMeta, maxMeta)
	errStatus   = fmt.Errorf("%w: unknown status", ErrBadFrame)
)

// Frame is everything before the payload.
type Frame struct {
	ID      uint16 // chosen by the client
	Status  Status
	Option  uint8
	Network Network // of New and of an addressed Keep, otherwise 0
	// Address is where New or a packet goes, or where a packet came from. With Network set but
	// malformed or missing on the wire it is invalid: a matter of this session alone.
	Address  M.Socksaddr
	GlobalID GlobalID // of New for UDP
	Length   int      // of the payload in bytes
}

// HasData reports whether a payload follows, which may be empty.
func (f *Frame) HasData() bool { return f.Option&OptionData != 0 }

// headerSize returns how many bytes of a header that starts with b, at least 2 bytes, are needed to
// know more or to be complete.
func headerSize(b []byte) (int, error) {
	n := int(binary.BigEndian.Uint16(b))
	if n < minMeta || n > maxMeta {
		return 0, errMeta
	}
	n += 2
	if len(b) >= fixed && b[5]&OptionData != 0 {
		n += 2
	}
	return n, nil
}

// ParseFrame decodes the header at the start of b and returns its length in bytes; Frame.Length bytes
// of payload follow. It keeps no reference to b. Bytes of the metadata that mean nothing to us are
// ignored, as padding and later additions must be.
//
// While b is only a prefix the error is ErrShort; every other error wraps ErrBadFrame. hint is a host
// of an earlier frame or "", which saves the allocation when it comes again.
//
//	| metadata length u16be | id u16be | status 1 | option 1 | network 1 | V-ADDR | GlobalID 8 | ignored | length u16be | payload |
//	                                                          New, Keep for UDP     New+Data, UDP          with OptionData
func ParseFrame(b []byte, hint string) (f Frame, n int, err error) {
	if len(b) < 2 {
		if len(b) == 1 && b[0] > maxMeta>>8 {
			return Frame{}, 0, errMeta
		}
		return Frame{}, 0, ErrShort
	}
	if n, err = headerSize(b); err != nil {
		return Frame{}, 0, err
	}
	if len(b) > 4 {
		f.Status = Status(b[4])
		if f.Status < StatusNew || f.Status > StatusKeepAlive {
			return Frame{}, 0, errStatus
		}
	}
	if len(b) < n {
		return Frame{}, 0, ErrShort
	}
	f.ID = binary.BigEndian.Uint16(b[2:])
	f.Option = b[5]
	meta := b[fixed:n]
	if f.HasData() {
		f.Length = int(binary.BigEndian.Uint16(b[n-2:]))
		meta = b[fixed : n-2]
	}
	f.parseTarget(meta, hint)
	return f, n, nil
}

// peekFrame waits for a header and returns its length in bytes, nothing consumed. host is ParseFrame's hint.
func peekFrame(conn wire.Source, host string) (Frame, int, error) {
	b, err := wire.PeekFrame(conn, 0, 2)
	for err == nil {
		var need int
		if need, err = headerSize(b); err != nil || len(b) >= need {
			break
		}
		b, err = wire.PeekFrame(conn, len(b), need)
	}
	if err != nil {
		return Frame{}, 0, err
	}
	return ParseFrame(b, host)
}

// parseTarget decodes network, address and GlobalID where the status has them.
func (f *Frame) parseTarget(meta []byte, hint string) {
	if len(meta) == 0 {
		return
	}
	network := Network(meta[0])
	switch f.Status {
	case StatusNew:
	case StatusKeep:
		if network != NetworkUDP {
			return // Xray's rule: some senders leave other things there
		}
	default:
		return
	}
	f.Network = network
	if network != NetworkTCP && network != NetworkUDP {
		return
	}
	addr, n, err := address.ParseV(meta[1:], hint)
	if err != nil {
		return
	}
	f.Address = addr
	rest := meta[1+n:]
	if f.Status == StatusNew && network == NetworkUDP && f.HasData() && len(rest) >= len(f.GlobalID) {
		f.GlobalID = GlobalID(rest)
	}
}

// AppendFrame appends the header f to b; the payload of f.Length bytes is for the caller. Network and
// Address are written for New, and for Keep when Network is UDP.
func AppendFrame(b []byte, f Frame) []byte {
	at := len(b)
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint16(b, f.ID)
	b = append(b, byte(f.Status), f.Option)
	if f.Status == StatusNew || f.Status == StatusKeep && f.Network == NetworkUDP {
		b = append(b, byte(f.Network))
		b = address.AppendV(b, f.Address)
		if f.Status == StatusNew && f.Network == NetworkUDP && f.HasData() && f.GlobalID != (GlobalID{}) {
			b = append(b, f.GlobalID[:]...)
		}
	}
	binary.BigEndian.PutUint16(b[at:], uint16(len(b)-at-2))
	if f.HasData() {
		b = binary.BigEndian.AppendUint16(b, uint16(f.Length))
	}
	return b
}

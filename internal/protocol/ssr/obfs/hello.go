package obfs

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"
)

// hello is what is read of a ClientHello.
type hello struct {
	random  [32]byte
	session []byte // session id, part of the input
	host    string
	ticket  []byte // part of the input; nil when there is none
}

// Extensions.
const (
	extensionSNI    = 0
	extensionTicket = 35
)

// maxHelloRecord bounds the record of a ClientHello.
const maxHelloRecord = MaxHello - recordHead

// parseHello reads the record with a ClientHello at the start of b and returns its length in bytes, 0
// while it is not whole.
func parseHello(b []byte) (h hello, n int, err error) {
	for i, want := range [...]byte{typeHandshake, 3, 1} {
		if i < len(b) && b[i] != want {
			return h, 0, ErrHello
		}
	}
	if len(b) < recordHead {
		return h, 0, nil
	}
	n = recordHead + int(binary.BigEndian.Uint16(b[3:]))
	if n-recordHead > maxHelloRecord {
		return h, 0, ErrHello
	}
	if len(b) > recordHead && b[recordHead] != 1 {
		return h, 0, ErrHello
	}
	if len(b) < n {
		return h, 0, nil
	}
	if !h.parse(b[recordHead:n]) {
		return h, 0, ErrHello
	}
	return h, n, nil
}

// parse reads the handshake message that b is.
func (h *hello) parse(b []byte) bool {
	s, body := cryptobyte.String(b), cryptobyte.String(nil)
	var kind uint8
	var version uint16
	var random []byte
	var session, skip, extensions cryptobyte.String
	if !s.ReadUint8(&kind) || kind != 1 || !s.ReadUint24LengthPrefixed(&body) || !s.Empty() ||
		!body.ReadUint16(&version) || version != 0x0303 || !body.ReadBytes(&random, len(h.random)) ||
		!body.ReadUint8LengthPrefixed(&session) || len(session) != 32 ||
		!body.ReadUint16LengthPrefixed(&skip) || !body.ReadUint8LengthPrefixed(&skip) ||
		!body.ReadUint16LengthPrefixed(&extensions) {
		return false
	}
	h.random, h.session = [32]byte(random), session
	for !extensions.Empty() {
		var number uint16
		var data cryptobyte.String
		if !extensions.ReadUint16(&number) || !extensions.ReadUint16LengthPrefixed(&data) {
			return false
		}
		switch number {
		case extensionSNI:
			h.host = serverName(data)
		case extensionTicket:
			h.ticket = data
		}
	}
	return true
}

// serverName returns the host of the extension, or "".
func serverName(data cryptobyte.String) string {
	var list, name cryptobyte.String
	var kind uint8
	if !data.ReadUint16LengthPrefixed(&list) || !list.ReadUint8(&kind) || kind != 0 || !list.ReadUint16LengthPrefixed(&name) {
		return ""
	}
	return HostOf(string(name))
}

// utc is the time at the start of the random.
func (h *hello) utc() uint32 { return binary.BigEndian.Uint32(h.random[:]) }

package sniff

import (
	"encoding/binary"
	"errors"

	"heki/constant"
)

const (
	recordHandshake  = 22
	helloType        = 1
	maxRecord        = 1<<14 + 256 // RFC 8446 §5.2
	extensionSNI     = 0
	nameTypeHostname = 0
)

// tlsStream reads a ClientHello, which may be spread over several records.
//
//	| 22 | 3 | 0..4 | length 2 | handshake message or a part of it | next record ... |
func tlsStream(b []byte) (Result, error) {
	var msg []byte // handshake bytes so far; a part of b while one record holds them all
	seen := Result{}
	for {
		if err := recordStart(b); err != nil {
			return seen, err
		}
		size := int(binary.BigEndian.Uint16(b[3:]))
		if size == 0 || size > maxRecord {
			return Result{}, ErrUnknown
		}
		body := b[5:min(5+size, len(b))]
		if msg == nil {
			msg = body[:len(body):len(body)]
		} else {
			msg = append(msg, body...)
		}
		hello, err := handshakeHello(msg)
		switch {
		case err == nil:
			domain, ok := serverName(hello)
			if !ok {
				return Result{}, ErrUnknown
			}
			return Result{constant.ProtocolTLS, domain}, nil
		case !errors.Is(err, ErrMore):
			return Result{}, err
		}
		if len(msg) >= 6 { // type, length and 3.x: no other protocol starts so
			seen.Protocol = constant.ProtocolTLS
		}
		if len(b) < 5+size {
			return seen, ErrMore
		}
		b = b[5+size:]
	}
}

// recordStart checks the header of a handshake record as far as it is there.
func recordStart(b []byte) error {
	if len(b) > 0 && b[0] != recordHandshake || len(b) > 1 && b[1] != 3 || len(b) > 2 && b[2] > 4 {
		return ErrUnknown
	}
	if len(b) < 5 {
		return ErrMore
	}
	return nil
}

// handshakeHello returns the body of the ClientHello at the start of msg, ErrMore while it is not
// whole.
func handshakeHello(msg []byte) ([]byte, error) {
	if len(msg) > 0 && msg[0] != helloType {
		return nil, ErrUnknown
	}
	if len(msg) < 4 {
		return nil, ErrMore
	}
	size := int(msg[1])<<16 | int(msg[2])<<8 | int(msg[3])
	if size < 2+32+1+2+1 || size > maxHello || len(msg) > 4 && msg[4] != 3 {
		return nil, ErrUnknown
	}
	if len(msg) < 4+size {
		return nil, ErrMore
	}
	return msg[4 : 4+size], nil
}

// serverName returns the host name in a ClientHello, "" without one; ok is false when b is not a
// ClientHello (RFC 8446 §4.1.2, RFC 6066 §3).
func serverName(b []byte) (domain string, ok bool) {
	r := reader{b: b}
	r.take(2 + 32)      // version, random
	r.take(r.length(1)) // session id
	ciphers := r.take(r.length(2))
	r.take(r.length(1)) // compression
	if r.bad || len(ciphers) == 0 || len(ciphers)%2 != 0 {
		return "", false
	}
	if len(r.b) == 0 {
		return "", true // no extensions
	}
	exts := reader{b: r.take(r.length(2))}
	for len(exts.b) > 0 && !exts.bad {
		kind := exts.length(2)
		body := exts.take(exts.length(2))
		if kind != extensionSNI || exts.bad {
			continue
		}
		names := reader{b: body}
		names = reader{b: names.take(names.length(2))}
		for len(names.b) > 0 && !names.bad {
			nameType := names.length(1)
			name := names.take(names.length(2))
			if nameType == nameTypeHostname && !names.bad && domain == "" {
				domain = hostname(string(name))
			}
		}
	}
	return domain, !r.bad && !exts.bad
}

// reader takes bytes off the front of b; bad is set, and nothing is returned, once b is too short.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	head := r.b[:n]
	r.b = r.b[n:]
	return head
}

// length reads a big-endian number of size bytes.
func (r *reader) length(size int) int {
	n := 0
	for _, c := range r.take(size) {
		n = n<<8 | int(c)
	}
	return n
}

// varint reads a QUIC variable-length integer (RFC 9000 §16).
func (r *reader) varint() uint64 {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	size := 1 << (r.b[0] >> 6)
	v := uint64(r.b[0] & 0x3f)
	raw := r.take(size)
	if raw == nil {
		return 0
	}
	for _, c := range raw[1:] {
		v = v<<8 | uint64(c)
	}
	return v
}

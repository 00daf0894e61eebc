package sniff

import (
	"encoding/binary"
	"strings"

	"heki/constant"
)

// Packets looks at the first datagrams of a client. The zero value is ready. It is for one session
// and not safe for concurrent use.
type Packets struct {
	datagrams int
	quic      *quicInitial // nil until the first datagram turned out to be QUIC
}

// Feed looks at the next datagram, without keeping or changing b. ErrMore (with Protocol set) asks
// for another one, at most MaxDatagrams in all; ErrUnknown and a nil error are final.
func (p *Packets) Feed(b []byte) (Result, error) {
	p.datagrams++
	if p.quic == nil {
		if p.datagrams > 1 {
			return Result{}, ErrUnknown
		}
		q, ok := newQUICInitial(b)
		if !ok {
			return datagram(b)
		}
		p.quic = q
	}
	domain, done := p.quic.feed(b)
	r := Result{constant.ProtocolQUIC, domain}
	if !done && p.datagrams < MaxDatagrams {
		return r, ErrMore
	}
	return r, nil
}

// datagram knows the protocols that show themselves in one datagram.
func datagram(b []byte) (Result, error) {
	switch {
	case isTrackerConnect(b), isDHT(b), isUTP(b):
		return Result{Protocol: constant.ProtocolBitTorrent}, nil
	case isDNS(b):
		return Result{Protocol: constant.ProtocolDNS}, nil
	}
	return Result{}, ErrUnknown
}

// isTrackerConnect knows the first request to a UDP tracker (BEP 15).
//
//	| 0x41727101980 8 | action 0 4 | transaction id 4 |
func isTrackerConnect(b []byte) bool {
	return len(b) >= 16 && binary.BigEndian.Uint64(b) == 0x41727101980 && binary.BigEndian.Uint32(b[8:]) == 0
}

// isDHT knows queries and answers of the mainline DHT (BEP 5), whose first key is the sender's id.
func isDHT(b []byte) bool {
	const id = len("d1:ad2:id20:") + 20
	if len(b) <= id || b[len(b)-1] != 'e' {
		return false
	}
	s := string(b[:12])
	return s == "d1:ad2:id20:" || s == "d1:rd2:id20:"
}

// isUTP knows the packet that opens a uTP connection (BEP 29). The fields that are zero in it leave
// noise a chance of 2^-56 and shorter than other headers none.
//
//	| type 4, version 1 | extension | id 2 | time 4 | time difference 0 4 | window 4 | seq 2 | ack 0 2 |
func isUTP(b []byte) bool {
	const header, syn, maxExtensions = 20, 4<<4 | 1, 4
	if len(b) < header || b[0] != syn || binary.BigEndian.Uint32(b[4:]) == 0 ||
		binary.BigEndian.Uint32(b[8:]) != 0 || binary.BigEndian.Uint16(b[18:]) != 0 {
		return false
	}
	r, next := reader{b: b[header:]}, int(b[1])
	for range maxExtensions {
		if next == 0 {
			break
		}
		next = r.length(1)
		r.take(r.length(1))
	}
	return next == 0 && !r.bad && len(r.b) == 0 // a SYN has no payload
}

// isDNS knows a query with one question (RFC 1035 §4.1), and EDNS or nothing behind it.
func isDNS(b []byte) bool {
	r := reader{b: b}
	r.take(2) // id
	flags := r.length(2)
	questions, answers, authorities, extra := r.length(2), r.length(2), r.length(2), r.length(2)
	const notInQueries = 0xfecf // QR, opcode, AA, TC, RA, Z, rcode
	if r.bad || flags&notInQueries != 0 || questions != 1 || answers != 0 || authorities != 0 || extra > 1 {
		return false
	}
	for total := 0; ; {
		n := r.length(1)
		if n == 0 {
			break
		}
		if total += n + 1; n > 63 || total > 254 {
			return false
		}
		r.take(n)
	}
	r.take(2) // type
	class := r.length(2)
	if r.bad || class != 1 && class != 255 {
		return false
	}
	if extra == 0 {
		return len(r.b) == 0
	}
	return strings.HasPrefix(string(r.b), "\x00\x00\x29") // the root and OPT: RFC 6891 §6.1.2
}

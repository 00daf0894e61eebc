package obfs

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"io"
)

const ticketMAC = 10 // bytes

// ticketSum is what authenticates the handshake of tls1.2_ticket_auth.
func ticketSum(key, clientID, b []byte) []byte {
	h := hmac.New(sha1.New, append(append(make([]byte, 0, len(key)+len(clientID)), key...), clientID...))
	_, _ = h.Write(b) // a hash never fails
	return h.Sum(nil)[:ticketMAC]
}

// ticketState is where the client is.
type ticketState uint8

const (
	wantHello ticketState = iota
	wantFinished
	wantData
)

// ticket is tls1.2_ticket_auth at the server.
type ticket struct {
	server   *Server
	gate     Gate
	random   io.Reader
	state    ticketState
	clientID [32]byte
	greeting []byte
	in       records
}

func ticketServer(s *Server, g Gate, random io.Reader) Codec {
	return &ticket{server: s, gate: g, random: random}
}

// Decode implements Codec. It goes on behind a hello at once: "fastauth" clients do not wait.
func (t *ticket) Decode(dst, src []byte) (n, used int, err error) {
	if t.state == wantHello {
		if used, err = t.hello(src); used == 0 || err != nil {
			return 0, 0, err
		}
	}
	if t.state == wantFinished {
		k, err := t.finished(src[used:])
		used += k
		if k == 0 || err != nil {
			return 0, used, err
		}
	}
	n, k, err := t.in.decode(dst, src[used:])
	return n, used + k, err
}

// hello reads the ClientHello and makes the answer.
func (t *ticket) hello(src []byte) (int, error) {
	h, n, err := parseHello(src)
	if n == 0 || err != nil {
		return 0, err
	}
	t.clientID = [32]byte(h.session)
	start := [22]byte(h.random[:])
	if !hmac.Equal(h.random[len(start):], ticketSum(t.server.key, t.clientID[:], start[:])) {
		return 0, ErrHello
	}
	if !t.server.inTime(t.gate, h.utc()) {
		return 0, ErrReplay
	}
	if err := t.server.allowed(t.gate, h.host); err != nil {
		return 0, err
	}
	if !t.gate.Fresh(start) {
		return 0, ErrReplay
	}
	t.state = wantFinished
	t.greeting = t.answer()
	return n, nil
}

// change is a ChangeCipherSpec, which a Finished follows.
const change = "\x14\x03\x03\x00\x01\x01"

// answer is ServerHello, now and then a ticket, ChangeCipherSpec and Finished.
func (t *ticket) answer() []byte {
	b := append(make([]byte, 0, 640), typeHandshake, 3, 3, 0, 0x51, 2, 0, 0, 0x4d, 3, 3)
	at := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(t.gate.Now().Unix()))
	b = appendRandom(b, t.random, 18)
	b = append(b, ticketSum(t.server.key, t.clientID[:], b[at:])...)
	b = append(append(b, byte(len(t.clientID))), t.clientID[:]...)
	b = append(b, "\xc0\x2f\x00\x00\x05\xff\x01\x00\x01\x00"...)
	var dice [3]byte
	_, _ = io.ReadFull(t.random, dice[:])
	if dice[0]%9 == 0 {
		n := 64 + 2*(int(dice[1])%164)
		b = append(b, typeHandshake, 3, 3, byte((n+4)>>8), byte(n+4), 4, 0, byte(n>>8), byte(n))
		b = appendRandom(b, t.random, n)
	}
	b = append(b, change...)
	finished := 0x20 + 8*(int(dice[2])&1)
	b = append(b, typeHandshake, 3, 3, 0, byte(finished))
	b = appendRandom(b, t.random, finished-ticketMAC)
	return append(b, ticketSum(t.server.key, t.clientID[:], b)...)
}

func appendRandom(b []byte, random io.Reader, n int) []byte {
	at := len(b)
	b = append(b, make([]byte, n)...)
	_, _ = io.ReadFull(random, b[at:])
	return b
}

// finished reads ChangeCipherSpec and Finished and returns their length, 0 while they are not whole.
func (t *ticket) finished(src []byte) (int, error) {
	const want = change + "\x16\x03\x03\x00"
	if n := min(len(src), len(want)); string(src[:n]) != want[:n] {
		return 0, ErrHello
	}
	if len(src) <= len(want) {
		return 0, nil
	}
	total := len(want) + 1 + int(src[len(want)])
	if total < len(want)+1+ticketMAC {
		return 0, ErrHello
	}
	if len(src) < total {
		return 0, nil
	}
	if !hmac.Equal(src[total-ticketMAC:total], ticketSum(t.server.key, t.clientID[:], src[:total-ticketMAC])) {
		return 0, ErrHello
	}
	t.state = wantData
	return total, nil
}

// Greeting implements Codec.
func (t *ticket) Greeting() []byte {
	b := t.greeting
	t.greeting = nil
	return b
}

// Open implements Codec.
func (t *ticket) Open(b []byte) []byte { return openRecord(b, typeData) }

// Close implements Codec.
func (t *ticket) Close(b []byte, at int) []byte { return closeRecord(b, at) }

// Front implements Codec.
func (t *ticket) Front() int { return recordHead }

// Ready implements Codec.
func (t *ticket) Ready() bool { return t.state == wantData }
